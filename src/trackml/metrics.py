"""Metrics: their names and directions, and scores of arrays."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T", float, "pd.Series[Any]")


@dataclass(frozen=True)
class Metric:
    """A metric that ranks models, by its name in MLflow, and its direction.

    `score` makes it one of the user's own, for `fit(metrics=…)`: a function of targets (N,) and
    answers float32 (N, outputs).

    >>> top1 = Metric("top1", True, lambda targets, answers: (answers.argmax(1) == targets).mean())

    Raises:
        ValueError: the name has other characters than letters, digits and _.
    """

    name: str
    higher_is_better: bool
    score: Callable[[NDArray[Any], NDArray[Any]], float] | None = field(
        default=None, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z]\w{0,99}", self.name, re.ASCII):
            raise ValueError(
                "the name of a metric begins with a letter, has letters, digits and _ only, and at "
                f"most 100. Received: {self.name!r}"
            )

    def __str__(self) -> str:
        return self.name

    def better(self, score: float, than: float) -> bool:
        """True if a score is better than another; equal scores and nan are not.

        >>> ACCURACY.better(0.9, than=0.8), MAE.better(0.9, than=0.8)
        (True, False)
        """
        return score > than if self.higher_is_better else score < than

    def signed(self, score: T) -> T:
        """The score with the sign for which higher is better."""
        return score if self.higher_is_better else -score


ACCURACY = Metric("accuracy", higher_is_better=True)
MAE = Metric("mae", higher_is_better=False)
MAP = Metric("map", higher_is_better=True)
LOSS = Metric("loss", higher_is_better=False)
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in (ACCURACY, MAE, MAP, LOSS)}
METRIC_TAG, DIRECTION_TAG = "trackml.metric", "trackml.higher_is_better"


def metric_tags(metric: Metric) -> dict[str, str]:
    """The tags by which `ranking_metric` knows the metric of a run."""
    return {METRIC_TAG: metric.name, DIRECTION_TAG: str(metric.higher_is_better).lower()}


def ranking_metric(logged: Iterable[str], tags: Mapping[str, str] = {}) -> Metric:
    """The metric that ranks a run, from its tags; without them from the metrics it has logged.

    Raises:
        ValueError: without tags none of the names is `best_val_` with a known metric, or several.
    """
    if METRIC_TAG in tags:
        return Metric(tags[METRIC_TAG], tags.get(DIRECTION_TAG) == "true")
    names = set(logged)
    (metric,) = (each for each in (ACCURACY, MAE, MAP) if f"best_val_{each}" in names)
    return metric


def own_scores(
    metrics: Sequence[Metric], targets: NDArray[Any], answers: NDArray[Any], prefix: str = ""
) -> dict[str, float]:
    """The scores of a user's metrics, by their names behind `prefix`."""
    return {  # of copies, as one may write into them, such as to sort answers
        f"{prefix}{metric}": float(metric.score(targets.copy(), answers.copy()))
        for metric in metrics
        if metric.score
    }


EPSILON = 1e-7  # as Keras: a mistake with probability 1 costs -log(1e-7) = 16.1, not infinity


def score_classes(probabilities: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    """Mean cross-entropy, in nats, and accuracy of probabilities (N, C) for labels (N,)."""
    true_class = np.take_along_axis(probabilities, labels[:, np.newaxis], axis=1)[:, 0]
    return {
        "loss": float(-np.log(np.clip(true_class, EPSILON, 1.0), dtype=np.float64).mean()),
        "accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
    }


def score_values(predictions: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
    """Mean squared error, as the loss, and mean absolute error of predictions (N, 1) or (N,).

    mae has the unit of the targets (N,), the loss its square.
    """
    errors = _flat(predictions) - _flat(targets)  # scikit-learn's functions refuse nan
    return {"loss": float(np.square(errors).mean()), "mae": float(np.abs(errors).mean())}


def regression_metrics(predictions: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
    """Mean squared error, its root, mean absolute error and R2 of predictions (N, 1) or (N,).

    R2 is 1 - (sum of squared errors) / (sum of squared differences of the targets to their mean).

    >>> regression_metrics(np.array([1.0, 3.0, 2.5]), np.array([1.0, 2.0, 2.5]))["mae"]
    0.3333333333333333
    """
    from sklearn.metrics import r2_score  # takes most of a second to import

    scores = score_values(predictions, targets)
    return {
        "mse": scores["loss"],
        "rmse": math.sqrt(scores["loss"]),
        "mae": scores["mae"],
        "r2": float(r2_score(_flat(targets), _flat(predictions))),
    }


def _flat(values: NDArray[Any]) -> NDArray[np.float64]:
    """(N, 1) or (N,) → (N,): otherwise (N, 1) - (N,) would be (N, N)."""
    return values.reshape(len(values)).astype(np.float64)


def label_metrics(predicted: NDArray[Any], labels: NDArray[Any], classes: int) -> dict[str, float]:
    """Accuracy, macro precision, recall and F1 (each class has the same weight), and F1 per class.

    A class that is never predicted has precision 0 and F1 0.

    Args:
        predicted: (N,), indices of classes; any other number is always wrong.
        labels: (N,), indices of classes.
    """
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, labels=range(classes), zero_division=0
    )
    return {
        "accuracy": float((predicted == labels).mean()),
        "precision_macro": float(precision.mean()),
        "recall_macro": float(recall.mean()),
        "f1_macro": float(f1.mean()),
        **{f"f1_class_{c}": float(f1[c]) for c in range(classes)},
    }


LATENCY = "prediction_seconds_per_1000"


def seconds_per_1000(predict: Callable[[NDArray[Any]], object], inputs: NDArray[Any]) -> float:
    """The time to predict 1,000 inputs in one call; fewer inputs (N, ...) are scaled up.

    Predict once before: some models compile themselves on the first call.
    """
    inputs = inputs[:1_000]
    started = perf_counter()
    predict(inputs)
    return (perf_counter() - started) * 1_000 / len(inputs)
