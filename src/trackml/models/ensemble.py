"""The weighted mean of the answers of several models."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trackml.models.summary import LayerRow, table

Array = NDArray[Any]


@dataclass(frozen=True)
class Member:
    """A trained model that is averaged.

    Attributes:
        address: by which the store has it: "mnist/3", or the id of its run.
        parameters: the trained ones; 0 if that is not known.
        folder: its files, as MLflow has them.
        predict: raw rows, as users have them → answers float32 (N, outputs).
    """

    address: str
    run_id: str
    framework: str
    architecture: str
    parameters: int
    folder: Path
    predict: Callable[[Any], Array]


@dataclass(frozen=True)
class Ensemble:
    """Models, and the weight of each: nonnegative, with the sum 1.

    Attributes:
        scores: of each member alone, on the validation data.
    """

    members: tuple[Member, ...]
    weights: tuple[float, ...]
    scores: tuple[Mapping[str, float], ...]

    @property
    def used(self) -> tuple[tuple[Member, float], ...]:
        """The members that answer, which have a weight, and that weight."""
        return tuple(pair for pair in zip(self.members, self.weights, strict=True) if pair[1])

    def predict(self, rows: Any) -> NDArray[np.float32]:
        """The mean of the members' answers to raw rows: float32 (N, outputs)."""
        answers = [member.predict(rows) for member, _ in self.used]
        return mean(answers, [weight for _, weight in self.used])


def mean(answers: Sequence[Array] | Array, weights: Sequence[float]) -> NDArray[np.float32]:
    """The weighted mean of M answers (N, outputs).

    >>> mean([np.array([[1.0]]), np.array([[4.0]])], [0.75, 0.25]).item()
    1.75
    """
    return np.tensordot(np.asarray(weights), np.asarray(answers, np.float64), 1).astype(np.float32)


def describe(ensemble: Ensemble) -> tuple[int, str]:
    """How many parameters the members have that answer, and a table of all members."""
    rows = [
        LayerRow(member.address, member.architecture, f"weight {weight:.4f}", member.parameters)
        for member, weight in zip(ensemble.members, ensemble.weights, strict=True)
    ]
    total = sum(member.parameters for member, _ in ensemble.used)
    return total, table(rows, total)
