"""What training is for: data in splits, and the objectives that predictions are scored by."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from trackml.evaluation.metrics import score_classes, score_values
from trackml.history import Metric

Array = NDArray[Any]

Loss = Literal["cross_entropy", "squared_error"]


class Split(Protocol):
    """Anything with a pair of arrays."""

    @property
    def arrays(self) -> tuple[Array, Array]:
        """Inputs (N, ...) and targets (N,)."""


class Splits(Protocol):
    """Anything with a training and a validation split."""

    @property
    def train(self) -> Split: ...

    @property
    def validation(self) -> Split: ...


@dataclass(frozen=True)
class Objective:
    """What training is for.

    Attributes:
        loss: what the optimiser minimises.
        metric: what is counted beside it, and ranks epochs.
        score: (predictions (N, outputs), targets (N,)) → {"loss": ..., metric: ...}, by which the
            validation data are scored.
    """

    loss: Loss
    metric: Metric
    score: Callable[[Array, Array], Mapping[str, float]]


CLASSIFICATION = Objective("cross_entropy", "accuracy", score_classes)
REGRESSION = Objective("squared_error", "mae", score_values)
