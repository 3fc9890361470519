"""Features, measured on the training rows, and their columns of these and of the validation rows.

They are computed once, to train on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from trackml.data import TableData, TableSplit
from trackml.errors import UsageError
from trackml.models.features import (
    NEAREST,
    Array,
    Features,
    Floats,
    Kind,
    column_names,
    grid,
)

PIECES = 24  # bins of a column of `piecewise`
NORMAL = np.linspace(-3, 3, 101)  # normal quantiles between which `quantile` is linear
MIN_BIN_WIDTH = 1e-3  # width of a bin at least, in interquartile ranges
UNBOUNDED = 1e9  # share of a bin without an end
ANGLES = (15, 30, 45, 60, 75)  # degrees
PLACE = {"Latitude": 100.0, "Longitude": 100.0}  # steps per degree: the data have two decimals
SIMILARITY_WEIGHTS = {
    "Latitude": 4.0,
    "Longitude": 4.0,
    "MedInc": 1.0,
    "AveOccup": 1.0,
    "HouseAge": 1.0,
}
STEPS = 64  # per standard deviation of `SIMILARITY_WEIGHTS`, whose values are weights of columns


def fit_features(kind: Kind, data: TableData) -> tuple[Features, TableData]:
    """Features of a kind, measured on the training rows, and the data to train on.

    These have the computed columns of the training and the validation rows, and no test rows. With
    `standard` there is nothing to compute: models standardize columns themselves.

    >>> from trackml.data import load
    >>> data = load("california_housing", limit=100)
    >>> features, computed = fit_features("quantile", data)
    >>> computed.train.features.shape, bool(abs(computed.train.features).max() < 4)
    ((100, 8), True)

    Raises:
        UsageError: there are too few training rows.
        ValueError: the data have texts or missing values, or lack a column that is needed.
    """
    if kind == "standard":
        return Features({}), data
    if data.categories or data.missing == "impute":
        raise ValueError(f"features {kind} are of numbers without gaps. Received: {data.name}")
    if kind == "neighbours" and len(data.train) <= max(NEAREST):
        raise UsageError(
            f"--features {kind}: expected more than {max(NEAREST)} training rows, "
            f"received {len(data.train)} (--limit)"
        )
    features, train = measure(kind, *data.train.arrays, data.columns)
    x, target = data.validation.arrays
    none = TableSplit(train[:0], data.test.target[:0])
    return features, replace(
        data,
        train=TableSplit(train, data.train.target),
        validation=TableSplit(features(x), target),
        test=none,
        columns=tuple(column_names(train.shape[1])),
    )


def measure(kind: Kind, x: Floats, target: Floats, names: Sequence[str]) -> tuple[Features, Floats]:
    """Features of a kind, measured on the training rows, and what those rows have of them (N, M).

    Args:
        x, target: float32 (N, D), (N,), of the training rows.
        names: of the D columns.

    Raises:
        ValueError: a column is missing that `neighbours` needs.
    """
    constants: dict[str, Array] = {}
    if kind == "standard":
        return Features(constants), x
    if kind == "neighbours":
        if missing := [name for name in SIMILARITY_WEIGHTS if name not in names]:
            raise ValueError(f"{kind}: there is no column {missing[0]}. Received: {names}")
        constants |= _neighbors(x, target, names)
        x = Features(constants).of_training_rows(x)
    bins = _pieces(x) if kind == "piecewise" else _normal(x)
    return Features(constants | bins), Features(bins)(x)


def _neighbors(x: Floats, target: Floats, names: Sequence[str]) -> dict[str, Array]:
    angles = np.radians(ANGLES)
    constants: dict[str, Array] = {
        "cosine": np.cos(angles).astype(np.float32),
        "sine": np.sin(angles).astype(np.float32),
    }
    for space, weights in (("place", PLACE), ("alike", SIMILARITY_WEIGHTS)):
        chosen = np.array([names.index(name) for name in weights])
        raw, factor = x[:, chosen].astype(np.float64), np.array([*weights.values()])
        center, scale = raw.mean(axis=0), raw.std(axis=0)
        if space == "place":
            center = center.round()  # hundredths of a degree stay whole numbers
        else:
            factor *= STEPS / np.where(scale > 0, scale, 1)
        constants[f"{space}_columns"] = chosen
        constants[f"{space}_center"] = center.astype(np.float32)
        constants[f"{space}_factor"] = factor.astype(np.float32)
        points = grid(np, constants, x, space)
        constants[f"{space}_kernel"] = -2 * points.T
        constants[f"{space}_bias"] = np.square(points).sum(axis=1)
        income = x[:, names.index("MedInc")]
        constants[f"{space}_rows"] = np.column_stack([points, target, income])
    return constants


def _pieces(x: Floats) -> dict[str, Array]:
    """Each column becomes the shares of its quantile bins, of which the outer ones have no end."""
    parts = []
    for column, values in enumerate(x.T):
        knots = np.unique(_quantiles(values, np.linspace(0, 1, PIECES + 1)))
        bins = _bins(column, knots)
        bins["min"][:1], bins["max"][-1:] = -UNBOUNDED, UNBOUNDED
        parts.append(bins)
    return _constants(parts)


def _normal(x: Floats) -> dict[str, Array]:
    """Each column becomes its normal quantile: the sum of the shares of bins, times their heights.

    A value that many rows have gets the middle of their quantiles.
    """
    step = NORMAL[1] - NORMAL[0]
    quantiles = np.array([NORMAL[0] - step, *NORMAL, NORMAL[-1] + step])
    levels = np.array([0, *map(NormalDist().cdf, NORMAL), 1])
    parts, kernel, bias = [], [], []
    for column, values in enumerate(x.T):
        knots, first, copies = np.unique(
            _quantiles(values, levels), return_index=True, return_counts=True
        )
        middle = np.add.reduceat(quantiles, first) / copies
        parts.append(_bins(column, knots))
        kernel.append(np.outer(np.diff(middle), np.arange(x.shape[1]) == column))
        bias.append(middle[0])
    normal = {"normal_kernel": np.concatenate(kernel), "normal_bias": np.array(bias)}
    return _constants(parts) | {name: value.astype(np.float32) for name, value in normal.items()}


def _quantiles(values: Floats, levels: Array) -> Floats:
    """Quantiles (L,) on a grid: means that should be equal differ in last digits."""
    found, quarters = np.quantile(values.astype(np.float64), levels), (0.25, 0.75)
    step = MIN_BIN_WIDTH * (np.ptp(np.quantile(values, quarters)) or np.ptp(values) or 1.0)
    grid: Floats = (np.round(found / step) * step).astype(np.float32)
    return grid


def _bins(column: int, knots: Floats) -> dict[str, Array]:
    """The bins between different knots of a column, from 0 to 1 each."""
    widths = np.diff(knots)
    return {
        "column": np.full(len(widths), column),
        "start": knots[:-1],
        "factor": 1 / widths,
        "min": np.zeros_like(widths),
        "max": np.ones_like(widths),
    }


def _constants(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    return {f"bin_{name}": np.concatenate([part[name] for part in parts]) for name in parts[0]}
