"""Check that a loaded detector finds in a few validation images what the trained one does."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trackml.checks.answers import Predict, of_trained, type_name, unstable
from trackml.data.canvases import Canvases, DetectionData, Objects
from trackml.errors import ModelRejected
from trackml.model_files.signatures import signature

IMAGES = 8
SAME_OBJECTS = 0.9  # of those found: near a threshold, last digits decide whether one is found
PIXELS, SCORE = 0.5, 0.01  # between two that are the same object

Array = NDArray[Any]


def check_detector(ask: Predict, data: DetectionData, predict: Predict) -> None:
    """Check a model that answers images with a table of objects."""
    images = data.validation.images
    rows = np.linspace(0, len(images) - 1, IMAGES).round().astype(int)
    images = images[rows]
    table = ask(images.copy())
    _check_table(table, images, len(data.classes), data)
    if not table.equals(ask(images.copy())):
        raise unstable()
    alone = ask(images[:1].copy())
    _check_table(alone, images[:1], len(data.classes), data)
    if not _are_same(alone, table[table["image"] == 0]):
        raise ModelRejected(
            "any batch size",
            "in an image alone other objects are found than in the same one among others; "
            "let no image depend on its batch",
        )
    none = np.zeros(0, np.int64)
    nothing = Objects(none, np.zeros((0, 4), np.float32), none, np.zeros(0, np.float32))
    trained = of_trained(lambda: _table_of(predict(Canvases(images.copy(), nothing))))
    if not _are_same(trained, table):
        raise ModelRejected(
            "as trained",
            f"the trained model finds {len(trained)} objects, and its files {len(table)}, of which "
            f"fewer than {SAME_OBJECTS:.0%} are the same; keep all that it computes with in "
            "weights that are saved",
        )


def _table_of(objects: Objects) -> pd.DataFrame:
    return pd.DataFrame(objects.boxes, columns=["x1", "y1", "x2", "y2"]).assign(
        image=objects.image, label=objects.labels, score=objects.scores
    )


def _check_table(table: Any, images: Array, classes: int, data: DetectionData) -> None:
    """Check a detector's answer: its columns, and what is in them."""
    columns = {each.name: each.type.to_numpy() for each in signature(data).outputs.inputs}
    received = dict(table.dtypes) if isinstance(table, pd.DataFrame) else type_name(table)
    if received != columns or list(received) != list(columns):
        expected, received = (
            ", ".join(f"{name} {kind}" for name, kind in each.items())
            if isinstance(each, dict)
            else each
            for each in (columns, received)
        )
        raise ModelRejected("columns", f"expected a table of {expected}; received {received}")
    if not np.isfinite(table.to_numpy(np.float64)).all():
        raise ModelRejected("finite", "expected finite numbers; received nan or infinity")
    height, width = images.shape[1:3]
    x1, y1, x2, y2 = (table[name] for name in ("x1", "y1", "x2", "y2"))
    rules = {
        "image": table["image"].between(0, len(images) - 1),
        "label": table["label"].between(0, classes - 1),
        "score": table["score"].between(0, 1),
        "boxes": (x1 >= 0) & (y1 >= 0) & (x1 <= x2) & (y1 <= y2) & (x2 <= width) & (y2 <= height),
    }
    ranges = {
        "image": f"an index of the {len(images)} images",
        "label": f"an index of the {classes} classes",
        "score": "a number from 0 to 1",
        "boxes": f"x1 <= x2 and y1 <= y2 within the {width} x {height} pixels",
    }
    for name, kept in rules.items():
        if not kept.all():
            row = table[~kept].iloc[0].to_dict()
            raise ModelRejected(name, f"expected {ranges[name]}; received {row}")


def _are_same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """True if SAME_OBJECTS of each of two tables of objects are in the other one."""
    if one.empty and other.empty:
        return True
    keys, corners = ["image", "label"], ["x1", "y1", "x2", "y2"]

    def differences(columns: list[str]) -> Array:  # (M, K)
        a, b = (each[columns].to_numpy(np.float64) for each in (one, other))
        largest: Array = np.abs(a[:, np.newaxis] - b).max(axis=2, initial=0)
        return largest

    close = differences(keys) == 0
    close &= (differences(corners) <= PIXELS) & (differences(["score"]) <= SCORE)
    matched = close.any(axis=1).sum() + close.any(axis=0).sum()
    return bool(matched >= SAME_OBJECTS * (len(one) + len(other)))
