"""Read-only arrays, and their checksum."""

import hashlib
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Floats = NDArray[np.float32]
Array = NDArray[Any]
Pair = tuple[Array, Array]
"""Inputs (N, ...) and targets (N,)."""
T = TypeVar("T", bound=np.generic)


def read_only(array: NDArray[T]) -> NDArray[T]:
    """A view of an array that cannot be written to."""
    array = array.view()
    array.flags.writeable = False
    return array


def arrays_sha256(*arrays: Array) -> str:
    """One SHA-256 of arrays, in order: their dtypes, shapes and values."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
