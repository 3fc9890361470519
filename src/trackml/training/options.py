"""The options of every framework's `fit`, and what they mean for the data at hand."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from trackml.errors import TrackmlError
from trackml.metrics import LOSS, Metric, own_scores
from trackml.training.augmentation import Augmentation
from trackml.training.checkpoint import Array
from trackml.training.limits import checked
from trackml.training.loop import LoopOptions, Splits
from trackml.training.objectives import CLASSIFICATION, Objective, objective_of

ClassWeights = Literal["balanced"] | Mapping[str, float] | Mapping[int, float]
"""Class, by name or index → weight of its rows; "balanced": all classes weigh the same in sum."""


class StepOptions(LoopOptions, total=False):
    """Options of the training of any model.

    Attributes:
        clip_norm: the gradients are scaled down to this norm of all together; 0 = never.
        ema_decay: of the exponential moving average of all weights, statistics of batch
            normalization included. It is the model that is validated and kept. 0 = no average.
            The decay of step t, from 0, is at most (1 + t) / (10 + t), so that the start is
            forgotten.
    """

    clip_norm: float
    ema_decay: float


class FitOptions(StepOptions, total=False):
    """Options of the training of a classifier or a regression.

    Attributes:
        objective: CLASSIFICATION or REGRESSION; None = what suits the data.
        class_weights: of rows in the training loss, which is the mean of weight times loss. Classes
            that a mapping does not name have weight 1. `val_loss` has no weights.
        label_smoothing: share of each training target that is spread evenly over all classes.
        augment: random changes to training images, anew in each epoch; None = none.
        metrics: more of them, each with a `score`, on validation data and at the end on test data.
        rank_by: ranks epochs: one of `metrics`, LOSS or the objective's; None = the objective's.
    """

    objective: Objective | None
    class_weights: ClassWeights | None
    label_smoothing: float
    augment: Augmentation | None
    metrics: Sequence[Metric]
    rank_by: Metric | None


@dataclass(frozen=True)
class StepSettings:
    """Checked `StepOptions`."""

    clip_norm: float = 0.0
    ema_decay: float = 0.0

    @classmethod
    def of(cls, options: StepOptions) -> Self:
        """The settings of these options; TypeError or ValueError if they are not allowed."""
        _check_names(options, StepOptions.__optional_keys__)
        return cls(**_step_values(options))


@dataclass(frozen=True)
class FitSettings(StepSettings):
    """Checked `FitOptions`.

    Attributes:
        metric: ranks epochs.
        metrics: the user's own.
        class_weights: float32 (classes,), or None.
        outputs: that a network needs: one for a quantity, else one per class.
    """

    objective: Objective = CLASSIFICATION
    metric: Metric = CLASSIFICATION.metric
    metrics: tuple[Metric, ...] = ()
    class_weights: Array | None = None
    label_smoothing: float = 0.0
    augment: Augmentation | None = None
    outputs: int = 1

    @property
    def has_soft_targets(self) -> bool:
        """True if training targets are shares of several classes."""
        return bool(self.label_smoothing or (self.augment and self.augment.mixup))

    def check_outputs(self, shape: Sequence[int | None]) -> None:
        """Raise TrackmlError unless a network's outputs (N, ...) have the shape that is needed."""
        is_quantity = self.objective.name != CLASSIFICATION.name
        width = 1 if is_quantity and len(shape) == 1 else shape[-1]
        if len(shape) <= 2 and width == self.outputs:
            return
        received = " x ".join(["N", *(str(size) for size in shape[1:])])
        raise TrackmlError(
            f"the network has outputs {received}; expected N x 1, as the target is a quantity; "
            "if its integers are classes, name them by classes="
            if is_quantity
            else f"the network has outputs {received}; expected N x {self.outputs}, one per class"
        )

    @classmethod
    def of_data(cls, options: FitOptions, data: Splits) -> Self:
        """The settings of these options for this data.

        Raises:
            TypeError: there is no such option.
            ValueError: the value of an option is not allowed.
        """
        _check_names(options, FitOptions.__optional_keys__)
        targets, classes = data.train.arrays[1], tuple(getattr(data, "classes", ()))
        objective = options.get("objective") or objective_of(targets, len(classes))
        weights, smoothing = options.get("class_weights"), options.get("label_smoothing", 0.0)
        augment = options.get("augment")
        is_quantity = objective.name != CLASSIFICATION.name
        if is_quantity and (weights is not None or smoothing or (augment and augment.mixup)):
            raise ValueError(
                "class_weights, label_smoothing and mixup are for classes. "
                f"Received: the objective {objective.name}"
            )
        if augment and data.train.arrays[0].ndim not in (3, 4):
            shape = " x ".join(["N", *map(str, data.train.arrays[0].shape[1:])])
            raise ValueError(f"augment is for images, N x height x width. Received: {shape}")
        metrics = tuple(options.get("metrics", ()))
        _check_metrics(metrics, objective)
        metric = options.get("rank_by") or objective.metric
        if metric not in (allowed := (objective.metric, LOSS, *metrics)):
            raise ValueError(
                f"rank_by must be one of {', '.join(map(str, allowed))}, with its direction. "
                f"Received: {metric!r}"
            )
        return cls(
            **_step_values(options),
            objective=objective,
            metric=metric,
            metrics=metrics,
            class_weights=None
            if weights is None
            else weights_of_classes(weights, targets, classes),
            label_smoothing=checked("label_smoothing", smoothing, below=1),
            augment=augment,
            outputs=len(classes) or (1 if is_quantity else int(targets.max()) + 1),
        )

    def scores(self, answers: Array, targets: Array) -> dict[str, float]:
        """The objective's scores of answers (N, outputs), and those of the user's own metrics."""
        own = own_scores(self.metrics, targets, answers)
        return {**self.objective.score(answers, targets), **own}


def weights_of_classes(weights: ClassWeights, labels: Array, classes: Sequence[str]) -> Array:
    """The weight of each class, float32 (classes,).

    "balanced" gives a class N / (number of classes with rows * its rows): the mean over all rows
    is 1.

    >>> weights_of_classes("balanced", np.array([0, 0, 0, 0, 1, 1]), ["a", "b"]).tolist()
    [0.75, 1.5]
    >>> weights_of_classes({"b": 3}, np.array([0, 1]), ["a", "b"]).tolist()
    [1.0, 3.0]

    Args:
        labels: of the training rows, int (N,).
        classes: their names; empty if they have none.

    Raises:
        ValueError: it names no class, or a weight is negative or not finite.
    """
    counts = np.bincount(labels, minlength=len(classes))
    if isinstance(weights, str):
        if weights != "balanced":
            raise ValueError(
                "class_weights must be 'balanced', or a mapping from class to weight. "
                f"Received: {weights!r}"
            )
        balanced = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
        return np.where(counts, balanced, 1.0).astype(np.float32)
    result = np.ones(len(counts), np.float32)
    for key, weight in weights.items():
        index = classes.index(key) if key in classes else key
        if not isinstance(index, int | np.integer) or not 0 <= index < len(counts):
            names = ", ".join(classes) or f"0 to {len(counts) - 1}"
            raise ValueError(f"class_weights: there is no class {key!r}; the classes are {names}")
        result[index] = checked(f"class_weights of {key!r}", weight)
    return result


def _step_values(options: StepOptions) -> dict[str, float]:
    """The values of `StepSettings`; of the loop's options, the numbers are checked."""
    checked("patience", options.get("patience", 0))
    checked("target_loss", options.get("target_loss", 0.0))
    return {
        "clip_norm": checked("clip_norm", options.get("clip_norm", 0.0)),
        "ema_decay": checked("ema_decay", options.get("ema_decay", 0.0), below=1),
    }


def _check_names(options: StepOptions, allowed: frozenset[str]) -> None:
    if unknown := sorted(options.keys() - allowed):
        raise TypeError(
            f"fit has no option {', '.join(unknown)}; the options are {', '.join(sorted(allowed))}"
        )


def _check_metrics(metrics: Sequence[Metric], objective: Objective) -> None:
    names = [metric.name for metric in metrics]
    for metric in metrics:
        if metric.score is None:
            raise ValueError(f"metrics: {metric} needs a score, a function of targets and answers")
        if names.count(metric.name) > 1 or re.fullmatch(objective.reserved, metric.name):
            raise ValueError(f"metrics: there is a {metric} already; give it another name")
