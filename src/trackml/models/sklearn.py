"""Estimators of scikit-learn, and of libraries with its interface, in words and numbers."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from trackml.models.summary import LayerRow, table

COUNTED = "Parameters are the numbers in fitted arrays of floats, and the nodes of trees."


def describe(estimator: Any) -> tuple[int, str]:
    """How many numbers a fitted estimator has learned, and a table of its steps.

    These are the numbers in its fitted arrays of floats, such as coefficients, and nodes of trees.

    >>> from sklearn.linear_model import Ridge
    >>> describe(Ridge().fit(np.ones((2, 3)), np.ones(2)))[0]  # three coefficients, an intercept
    4
    """
    steps = estimator.steps if isinstance(estimator, Pipeline) else [("estimator", estimator)]
    rows = [LayerRow(name, type(step).__name__, "", _size(step)) for name, step in steps]
    total = sum(row.parameters for row in rows)
    return total, f"{table(rows, total)}\n{COUNTED}\n\n{estimator!r}\n"


def _size(part: Any) -> int:
    """What a part of an estimator has learned: a number, an array, a tree, or parts of its own."""
    match part:
        case float() | np.floating():
            return 1
        case np.ndarray() if part.dtype.kind == "f":
            return int(part.size)
        case np.ndarray() if part.dtype == object:
            return sum(map(_size, part.flat))
        case list() | tuple():
            return sum(map(_size, part))
    module = type(part).__module__
    if module.startswith("sklearn."):
        return sum(map(_size, _learned(part)))
    if module.startswith("xgboost."):
        return sum(tree.count("\n") for tree in part.get_booster().get_dump())
    if module.startswith("lightgbm."):
        return len(part.booster_.trees_to_dataframe())
    if module.startswith("catboost."):
        return 2 * len(part.get_leaf_values()) - int(part.tree_count_)  # its trees are binary
    return 0


def _learned(part: Any) -> Iterator[Any]:
    if hasattr(part, "node_count"):
        yield from [0.0] * part.node_count
        return
    for name, value in vars(part).items():
        if name == "_predictors":  # the trees of HistGradientBoosting
            yield from (tree.nodes["value"] for trees in value for tree in trees)
        elif name == "intercept_" or (_is_fitted(name) and not isinstance(value, float)):
            yield value


def _is_fitted(name: str) -> bool:
    is_record = "score" in name or "loss" in name
    return name.endswith("_") and not name.startswith("_") and not is_record
