"""What training minimizes, the same for all frameworks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from trackml.metrics import ACCURACY, LOSS, MAE, Metric, score_classes, score_values
from trackml.training.checkpoint import Array


@dataclass(frozen=True)
class Objective:
    """What training minimizes, and how answers are scored.

    Attributes:
        name: "classification", whose loss is the cross-entropy of answers (N, classes), or
            "regression", whose loss is the mean squared error of answers (N, 1) or (N,).
        metric: ranks epochs.
        score: (answers, targets) → "loss", the metric, and perhaps more.
        reserved: pattern of the names that evaluations use, which no metric of a user's may have.
    """

    name: str
    metric: Metric
    score: Callable[[Array, Array], Mapping[str, float]]
    reserved: str = LOSS.name


CLASSIFICATION = Objective(
    "classification",
    ACCURACY,
    score_classes,
    r"loss|accuracy|(precision|recall|f1)_macro|f1_class_\d+|expected_calibration_error",
)
REGRESSION = Objective("regression", MAE, score_values, "loss|mae|mse|rmse|r2")


def objective_of(targets: Array, classes: int) -> Objective:
    """The objective that suits data: regression if it has no classes and its targets are floats.

    >>> objective_of(np.zeros(3, np.float32), classes=0).name
    'regression'
    """
    is_regression = not classes and np.issubdtype(targets.dtype, np.floating)
    return REGRESSION if is_regression else CLASSIFICATION
