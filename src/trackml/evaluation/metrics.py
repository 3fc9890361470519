"""Scores of predictions, by the same code for every framework."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support, r2_score

EPSILON = 1e-7  # as Keras: a certain mistake costs -log(1e-7) = 16.1, not infinity


def score_classes(probabilities: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    """Mean cross-entropy, in nats, and accuracy, of probabilities (N, C) for labels (N,)."""
    of_truth = np.take_along_axis(probabilities, labels[:, np.newaxis], axis=1)[:, 0]
    return {
        "loss": float(-np.log(np.clip(of_truth, EPSILON, 1.0), dtype=np.float64).mean()),
        "accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
    }


def score_values(predictions: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
    """Mean squared error, as the loss, and mean absolute error, of predictions (N, 1) or (N,).

    Args:
        targets: (N,), in any unit: mae is in that unit, loss in its square.
    """
    errors = _flat(predictions) - _flat(targets)  # not by scikit-learn, which refuses nan
    return {"loss": float(np.square(errors).mean()), "mae": float(np.abs(errors).mean())}


def regression_metrics(predictions: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
    """Mean squared error, its root, mean absolute error, and R2, of predictions (N, 1) or (N,).

    R2 is 1 - (sum of squared errors) / (sum of squared differences of the targets to their mean).
    """
    scores = score_values(predictions, targets)
    return {
        "mse": scores["loss"],
        "rmse": math.sqrt(scores["loss"]),
        "mae": scores["mae"],
        "r2": float(r2_score(_flat(targets), _flat(predictions))),
    }


def _flat(values: NDArray[Any]) -> NDArray[np.float64]:
    """(N, 1) or (N,) → (N,). Without it (N, 1) - (N,) would be all pairs."""
    return values.reshape(len(values)).astype(np.float64)


def label_metrics(predicted: NDArray[Any], labels: NDArray[Any], classes: int) -> dict[str, float]:
    """Accuracy, precision, recall and F1 (macro: classes count alike), and F1 per class.

    A class that is never predicted has precision 0 and F1 0.

    Args:
        predicted: (N,), indices of classes; any other number is no class, and wrong.
        labels: (N,), indices of classes.
    """
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
