"""Columns that are computed of raw ones: encoded, or looked up among the nearest training rows.

`columns` has the arithmetic once, for NumPy and, as a graph of built-in layers, for Keras. A copy
of this file travels with each registered estimator that needs it: it imports nothing of trackml.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float32]
Constants = Mapping[str, Array]
Kind = Literal["standard", "quantile", "piecewise", "neighbours"]

BATCH = 256  # rows at a time in NumPy: each is compared with all training rows
NEAREST = (3, 8, 30)  # how many neighbors are averaged
INCOME_EFFECT = 0.42  # of the target, per unit of MedInc
# Neighbors are looked for in two spaces, whose coordinates are whole numbers: sums of products stay
# below 2**24, which float32 has exactly, in any order.
MAX_COORDINATE = 900
DISTANCE_OFFSETS = {"place": 1.0, "alike": 3.0}  # steps, added before distances are inverted


class Arithmetic(Protocol):
    """What NumPy and Keras do in different ways."""

    @property
    def xp(self) -> Any:
        """A namespace of functions: numpy or keras.ops."""

    def product(self, x: Any, name: str) -> Any:
        """(N, D) → (N, M): x @ NAME_kernel + NAME_bias."""

    def rows(self, indices: Any, name: str) -> Any:
        """Integers (N, K) → (N, K, D), the rows of NAME_rows."""

    def smallest(self, values: Any, count: int) -> Any:
        """(N, R) → (N, count), indices of the smallest, in order; of equal ones the lower first."""


def columns(arithmetic: Arithmetic, constants: Constants, x: Any) -> Any:
    """Raw columns (N, D) → (N, M), both float32; the constants say which."""
    xp = arithmetic.xp
    if "cosine" in constants:
        latitude, longitude = (x[:, i : i + 1] for i in constants["place_columns"].tolist())
        cosine, sine = constants["cosine"], constants["sine"]
        parts = [x, longitude * cosine + latitude * sine, latitude * cosine - longitude * sine]
        for space in DISTANCE_OFFSETS:
            parts += _of_neighbors(arithmetic, constants, x, space)
        x = xp.concatenate(parts, axis=1)
    if "bin_column" in constants:
        # Piecewise-linear encoding (Gorishniy et al., 2022, "On Embeddings for Numerical Features
        # in Tabular Deep Learning"): which share of each bin is below x.
        above = xp.take(x, constants["bin_column"], axis=1) - constants["bin_start"]
        share = above * constants["bin_factor"]
        x = xp.minimum(xp.maximum(share, constants["bin_min"]), constants["bin_max"])
    if "normal_kernel" in constants:
        x = arithmetic.product(x, "normal")
    return x


def _of_neighbors(arithmetic: Arithmetic, constants: Constants, x: Any, space: str) -> list[Any]:
    """Seven columns (N, 1) that the nearest training rows in a space have."""
    xp = arithmetic.xp
    point = grid(xp, constants, x, space)  # (N, D)
    # |b|² - 2ab, the squared distance less |a|², has the same order as the distance.
    nearest = arithmetic.smallest(arithmetic.product(point, space), max(NEAREST))
    rows = arithmetic.rows(nearest, space)  # (N, 30, D + 2)
    size = len(constants[f"{space}_columns"])
    away = rows[:, :, :size] - xp.expand_dims(point, 1)
    distance = xp.sqrt(xp.sum(xp.square(away), axis=2))  # (N, 30), of exact squares
    target, income = rows[:, :, size], rows[:, :, size + 1]
    weight = 1 / (distance + DISTANCE_OFFSETS[space])
    found = [
        xp.sum(weight[:, :k] * target[:, :k], axis=1) / xp.sum(weight[:, :k], axis=1)
        for k in NEAREST
    ]
    few = NEAREST[1]
    target, income = target[:, :few], income[:, :few]
    found += [xp.std(target, axis=1), xp.mean(income, axis=1), distance[:, few - 1]]
    found += [xp.mean(target - income * INCOME_EFFECT, axis=1)]
    return [xp.expand_dims(each, 1) for each in found]


def grid(xp: Any, constants: Constants, x: Any, space: str) -> Any:
    """Coordinates in a space, whole numbers: all frameworks find the same neighbors."""
    raw = xp.take(x, constants[f"{space}_columns"], axis=1)
    # In this order, with nothing that a compiler could fuse: rounded alike everywhere.
    scaled = (raw - constants[f"{space}_center"]) * constants[f"{space}_factor"]
    return xp.clip(xp.round(scaled), -MAX_COORDINATE, MAX_COORDINATE)


@dataclass(frozen=True)
class Features:
    """What `columns` computes; without constants the raw columns themselves.

    Attributes:
        constants: arrays by name, as a file of NumPy holds them.
    """

    constants: Constants

    def __call__(self, x: Floats) -> Floats:
        """Raw columns of any rows (N, D) → (N, M)."""
        return self._of(x, None)

    def of_training_rows(self, x: Floats) -> Floats:
        """The same for all training rows, in order: none of them is a neighbor of itself."""
        return self._of(x, np.arange(len(x)))

    def _of(self, x: Floats, own: Array | None) -> Floats:
        if not self.constants:
            return x
        parts = []
        for first in range(0, max(1, len(x)), BATCH):
            rows = slice(first, first + BATCH)
            arithmetic = _NumPy(self.constants, None if own is None else own[rows])
            parts.append(columns(arithmetic, self.constants, x[rows]))
        return np.concatenate(parts)


@dataclass(frozen=True)
class WithFeatures:
    """A fitted estimator of computed columns, which answers to raw ones."""

    features: Features
    estimator: Any

    def predict(self, frame: Any) -> Array:
        """A DataFrame of the raw columns, in their order → answers (N,)."""
        computed = self.features(frame.to_numpy(np.float32))
        names = column_names(computed.shape[1])
        answers: Array = self.estimator.predict(type(frame)(computed, columns=names))
        return answers


def with_features(estimator: Any, features: Features) -> Any:
    """A fitted estimator of computed columns as one of raw columns."""
    return WithFeatures(features, estimator) if features.constants else estimator


def column_names(count: int) -> list[str]:
    """Of computed columns."""
    return [f"feature_{number}" for number in range(count)]


def restore(constants: str, estimator: Any) -> WithFeatures:
    """An estimator behind the features in a file of NumPy."""
    with np.load(constants, allow_pickle=False) as arrays:
        return WithFeatures(Features(dict(arrays)), estimator)


@dataclass(frozen=True)
class _NumPy:
    """`own`: rows that the rows of a batch must not find (N,)."""

    constants: Constants
    own: Array | None
    xp: Any = np

    def product(self, x: Array, name: str) -> Array:
        y: Array = x @ self.constants[f"{name}_kernel"] + self.constants[f"{name}_bias"]
        return y

    def rows(self, indices: Array, name: str) -> Array:
        return self.constants[f"{name}_rows"][indices]

    def smallest(self, values: Array, count: int) -> Array:
        size = values.shape[1]
        keys = values.astype(np.int64) * size + np.arange(size)  # no two are equal
        if self.own is not None:
            keys[np.arange(len(keys)), self.own] = np.iinfo(np.int64).max
        found = np.argpartition(keys, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(keys, found, axis=1), axis=1)
        return np.take_along_axis(found, order, axis=1)
