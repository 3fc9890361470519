"""Fitting estimators of scikit-learn, and of libraries with its interface."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier, is_regressor
from sklearn.utils.validation import has_fit_parameter

from trackml.backends import standard_settings
from trackml.data import ImageData, TableData
from trackml.data.tables import raw_rows
from trackml.errors import TrackmlError
from trackml.history import History, NonFiniteLoss
from trackml.metrics import Metric
from trackml.models import estimator as estimators
from trackml.params import PipelineParams
from trackml.process.signals import stop_even_if_lost
from trackml.progress import Progress
from trackml.training import boosting
from trackml.training.boosting import Examples
from trackml.training.loop import ModelCallback, by_split
from trackml.training.options import ClassWeights, FitSettings

Array = NDArray[Any]
Data = ImageData | TableData
Predict = Callable[[Array], NDArray[np.float32]]

AS_REPORTED = 1e-3  # relative: what a score may differ where a library computes it itself


class FittingRun(Protocol):
    """Receives the rows of a fit: `trackml.tracking.run.Run`."""

    @property
    def progress(self) -> Progress:
        """Shows what is done."""

    def log_fit(self, history: History) -> None:
        """Log all of them at once."""


@standard_settings()
def fit(
    estimator: Any,
    data: Data,
    params: PipelineParams,
    *,
    metrics: Sequence[Metric] = (),
    rank_by: Metric | None = None,
    class_weights: ClassWeights | None = None,
    callbacks: Sequence[ModelCallback] = (),
    run: FittingRun | None = None,
) -> History:
    """Fit an estimator, or a Pipeline of them, in place.

    Images are its input as float32 (N, pixels), from 0 to 255, tables as a DataFrame. Parameters
    named random_state that are None become `params.seed`; the others stay as they are.

    The history has one row, without epochs. For boosting, bare or at the end of a Pipeline, it has
    a row per iteration, and the estimator is fitted again with the best number of them: it keeps
    what is reported as best. A HistGradientBoosting that may stop early does so on the validation
    data; within a Pipeline it splits its training data.

    >>> from sklearn.tree import DecisionTreeRegressor
    >>> rows = np.arange(20.0).reshape(10, 2), np.arange(10.0)
    >>> data = TableData.from_arrays("rows", rows, rows, columns=["a", "b"])
    >>> fit(DecisionTreeRegressor(), data, PipelineParams()).best["train_mae"]
    0.0

    Args:
        metrics: further ones to log; of XGBoost and LightGBM only of the best iteration.
        rank_by: ranks iterations, as in `FitOptions`; XGBoost and LightGBM rank by no own metric.
        class_weights: as in `FitOptions`, for estimators whose `fit` takes a sample_weight; they
            are in no score.
        callbacks: called once, with the number and the row of the best iteration, or 1 and the
            only row, and the estimator. What they return has no effect.

    Raises:
        ValueError: the estimator does not fit the data or the options, or could not be loaded
            elsewhere.
        TrackmlError: a class has no training examples.
        NonFiniteLoss: a score that is not the user's own is NaN or infinite.
    """
    settings = FitSettings.of_data(
        {"metrics": metrics, "rank_by": rank_by, "class_weights": class_weights}, data
    )
    _check(estimator, data, settings)
    _seed(estimator, params.seed)
    progress = run.progress if run else Progress()
    progress.fact("device", "cpu")
    progress.stage(f"fitting {estimators.package_of(estimator)}'s {type(estimator).__name__}")
    with stop_even_if_lost():
        history = _fit(estimator, data, settings)
    own = {f"{split}_{metric}" for split in ("train", "val") for metric in metrics}
    for name, value in history.best.items():
        if name not in own and not math.isfinite(value):
            raise NonFiniteLoss(f"{name} is {value} after the fit: scale the inputs or the target")
    if run:
        run.log_fit(history)
    for call in callbacks:
        call(history.best_epoch, history.best, estimator)
    return history


def predictor(estimator: Any, data: Data) -> Predict:
    """A function of inputs, as `data` has them, that returns answers, float32 (N, outputs)."""

    def predict(inputs: Array) -> NDArray[np.float32]:
        return estimators.predict(estimator, raw_rows(data, inputs))

    return predict


def _fit(estimator: Any, data: Data, settings: FitSettings) -> History:
    """The history of the estimator that is kept: by iteration, if that is what its rows score."""
    train, validation = (
        (estimators.flat(raw_rows(data, inputs)), targets)
        for inputs, targets in (data.train.arrays, data.validation.arrays)
    )
    weights = settings.class_weights
    row_weights = None if weights is None else weights[train[1]]
    classes, seconds = len(data.classes), 0.0
    empty = History(settings.metric, "float32", metrics=settings.metrics)

    def fit_again() -> None:
        nonlocal seconds
        started = perf_counter()
        boosting.fit(estimator, train, validation, classes, row_weights)
        seconds += perf_counter() - started

    def scores(examples: Examples) -> Mapping[str, float]:
        return settings.scores(estimators.predict(estimator, examples[0]), examples[1])

    fit_again()
    rows = boosting.iterations(estimator, train, validation, classes, settings.scores)
    history = replace(empty, rows=tuple(rows), step="iteration")
    if rows and history.best_epoch < len(rows):
        boosting.keep(estimator, history.best_epoch, fit_again)
    kept = scores(validation)
    if not rows or not _are_close(kept, history.best):
        row = by_split(scores(train), kept) | _costs(seconds, len(train[1]))
        return replace(empty, rows=(row,), is_iterative=False)
    costs = {"learning_rate": boosting.learning_rate(estimator)}
    costs |= _costs(seconds / len(rows), len(train[1]))
    lacks = any(f"val_{metric}" not in history.best for metric in settings.metrics)
    exact = by_split(scores(train), kept) if lacks else {}
    rows = [{**(exact if row is history.best else {}), **row, **costs} for row in history.rows]
    return replace(history, rows=tuple(rows))


def _costs(seconds: float, samples: int) -> dict[str, float]:
    """Of an iteration, on average, or of a fit without any."""
    return {"epoch_seconds": seconds, "samples_per_second": samples / seconds}


def _are_close(kept: Mapping[str, float], reported: Mapping[str, float]) -> bool:
    """True if the scores of a row are those of the estimator that is kept."""
    names = [name for name in kept if f"val_{name}" in reported]
    pair = [kept[name] for name in names], [reported[f"val_{name}"] for name in names]
    return np.allclose(*pair, rtol=AS_REPORTED, atol=0, equal_nan=True)


def _check(estimator: Any, data: Data, settings: FitSettings) -> None:
    """Raise before a fit that would be in vain."""
    name = type(estimator).__name__
    if not data.classes and is_classifier(estimator):
        raise ValueError(f"{name} is a classifier, but the target of {data.name} is a number")
    if data.classes and is_regressor(estimator):
        raise ValueError(f"{name} is a regressor, but the target of {data.name} are classes")
    if data.classes and not hasattr(estimator, "predict_proba"):
        raise ValueError(
            f"{name} has no predict_proba, but a registered classifier answers with "
            f"probabilities; wrap it: CalibratedClassifierCV({name}(...))"
        )
    if warm := [n for n, on in estimator.get_params().items() if n.endswith("warm_start") and on]:
        raise ValueError(
            f"{name} has {warm[0]}=True, but a run fits from the start; leave {warm[0]} out"
        )
    package = estimators.package_of(estimator)
    if settings.metric in settings.metrics and package in boosting.RECORDED:
        raise ValueError(
            f"rank_by: {package} has no {settings.metric} of each iteration; "
            f"rank by {settings.objective.metric} or loss"
        )
    last = boosting.last_step(estimator)[1]
    if settings.class_weights is not None and not has_fit_parameter(last, "sample_weight"):
        raise ValueError(
            f"class_weights: the fit of {type(last).__name__} takes no sample_weight; "
            "leave class_weights out"
        )
    trained_on = np.unique(data.train.arrays[1])
    missing = [each for n, each in enumerate(data.classes) if n not in trained_on]
    if missing:
        raise TrackmlError(
            f"the {len(data.train):,} training examples of {data.name} have none of "
            f"{', '.join(missing)}: train on more (--limit), or leave the class out"
        )
    estimators.check(estimator)


def _seed(estimator: Any, seed: int) -> None:
    boosting.prepare(estimator, seed)
    params = estimator.get_params()
    unset = [n for n, value in params.items() if n.endswith("random_state") and value is None]
    estimator.set_params(**dict.fromkeys(unset, seed))
