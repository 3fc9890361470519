"""Numeric tables with one target, in splits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trackml.data.splits import read_only, split_at_end, sum_of

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class TableSplit:
    """features: float32 (N, columns). target: float32 (N,)."""

    features: Floats
    target: Floats

    @property
    def arrays(self) -> tuple[Floats, Floats]:
        """Inputs and targets, as training takes them."""
        return self.features, self.target

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True)
class TableData:
    """A dataset of numeric columns and one target.

    Attributes:
        columns: names of the features, in order.
        target_name: name of the target. unit: the target's, empty if it has none.
        sha256: identifies the content. source: delivered it.
    """

    name: str
    train: TableSplit
    validation: TableSplit
    test: TableSplit
    columns: tuple[str, ...]
    target_name: str
    unit: str
    sha256: str
    source: str

    @classmethod
    def from_arrays(
        cls,
        name: str,
        train: tuple[ArrayLike, ArrayLike],
        test: tuple[ArrayLike, ArrayLike],
        *,
        columns: Sequence[str],
        target_name: str = "target",
        unit: str = "",
        validation_split: float = 0.1,
        limit: int = 0,
        source: str = "arrays in memory",
        sha256: str | None = None,
    ) -> "TableData":
        """Hold out the last `validation_split` of train; keep the first `limit` of the rest.

        Args:
            train, test: features (N, columns) and target (N,), numbers that float32 can hold.
            limit: 0 keeps all.

        Raises:
            ValueError: the arrays are not what is said above.
            UsageError: the split leaves no training or no validation rows.
        """
        (features, targets), held_back = (_checked(*part, columns) for part in (train, test))
        kept, held_out = split_at_end(len(targets), validation_split, limit)
        return cls(
            name,
            train=_split(features[kept], targets[kept]),
            validation=_split(features[held_out], targets[held_out]),
            test=_split(*held_back),
            columns=tuple(columns),
            target_name=target_name,
            unit=unit,
            sha256=sha256 or sum_of(features, targets, *held_back),
            source=source,
        )


def _checked(
    features: ArrayLike, target: ArrayLike, columns: Sequence[str]
) -> tuple[Floats, Floats]:
    if len(set(columns)) != len(columns):
        raise ValueError(f"columns need names of their own. Received: {', '.join(columns)}")
    features, target = np.asarray(features), np.asarray(target)
    if target.ndim != 1 or features.shape != (*target.shape, len(columns)):
        raise ValueError(
            f"features must be (N, {len(columns)}), a column for each of "
            f"{', '.join(columns)}, and the target (N,). Received: "
            f"{features.shape} and {target.shape}"
        )
    if not len(target):
        raise ValueError("train and test need at least one row each. Received: none")
    with np.errstate(over="ignore"):  # it becomes infinity, which is refused below
        rows = features.astype(np.float32), target.astype(np.float32)
    if not all(np.isfinite(numbers).all() for numbers in rows):
        raise ValueError("features and target must be finite numbers. Received: nan or infinity")
    return rows


def _split(features: Floats, target: Floats) -> TableSplit:
    return TableSplit(read_only(features), read_only(target))
