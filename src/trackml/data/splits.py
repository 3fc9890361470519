"""What all datasets have in common: how rows are split, summed and kept from being changed."""

import hashlib
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from trackml.errors import UsageError

T = TypeVar("T", bound=np.generic)


def split_at_end(rows: int, validation_split: float, limit: int) -> tuple[slice, slice]:
    """Rows to train on, and the last `validation_split` of all rows, to validate on.

    Args:
        limit: train on the first N of the former only; 0 keeps all.

    Raises:
        UsageError: one of the two would be empty.
    """
    held_out = round(rows * validation_split)
    kept = rows - held_out
    if not held_out or not kept:
        raise UsageError(
            f"--validation_split {validation_split}: of {rows:,} rows it leaves {kept:,} to train "
            f"on and {held_out:,} to validate on; both need at least 1"
        )
    return slice(0, min(limit or kept, kept)), slice(kept, rows)


def read_only(array: NDArray[T]) -> NDArray[T]:
    """A view of an array that cannot be written to."""
    array = array.view()
    array.flags.writeable = False
    return array


def sum_of(*arrays: NDArray[Any]) -> str:
    """One SHA-256 over arrays, in order: their dtypes, shapes and content."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
