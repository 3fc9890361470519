"""Checks of arrays that a dataset is made of."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from trackml.data.arrays import Array, Labels, Pair
from trackml.errors import UsageError

MAX_CHANNELS = 4
Missing = Literal["refuse", "impute"]


def names_of(classes: Sequence[object] | None) -> tuple[str, ...]:
    """Names of classes as texts; () if there are none."""
    return () if classes is None else tuple(str(name) for name in classes)


def checked_images(images: ArrayLike, labels: ArrayLike, classes: int) -> Pair:
    """The arrays, labels as int64. ValueError: they have other shapes, types or values."""
    images, labels = np.asarray(images), np.asarray(labels)
    channels = images.shape[3:] or (1,)
    is_image = images.ndim in {3, 4} and 0 not in images.shape[1:]
    if images.dtype != np.uint8 or not is_image or channels[0] > MAX_CHANNELS:
        raise ValueError(
            "images must be raw pixels, uint8 (N, height, width), or (N, height, width, channels) "
            f"with 1 to {MAX_CHANNELS} channels. Received: {images.dtype} {images.shape}"
        )
    is_integer = np.issubdtype(labels.dtype, np.integer)
    if not (is_integer and len(images) and labels.shape == images.shape[:1]):
        raise ValueError(
            "train and test need at least one image each, and an integer label for each image. "
            f"Received: {len(images)} images and labels {labels.dtype} {labels.shape}"
        )
    return images, checked_labels(labels, classes)


def checked_table(
    features: ArrayLike,
    target: ArrayLike,
    columns: Sequence[str],
    classes: int,
    categories: Mapping[str, Sequence[str]],
) -> Pair:
    """Features float32 (N, columns), and target float32, or int64 if there are classes, (N,).

    ValueError: the arrays have other shapes, types or values.
    """
    features, target = np.asarray(features), np.asarray(target)
    if target.ndim != 1 or not len(target) or features.shape != (len(target), len(columns)):
        raise ValueError(
            f"features must be (N, {len(columns)}), a column for each of {', '.join(columns)}, "
            f"and the target (N,), N >= 1. Received: {features.shape} and {target.shape}"
        )
    if classes and not np.issubdtype(target.dtype, np.integer):
        raise ValueError(
            f"the target must be integers, indices of the classes. Received: {target.dtype}"
        )
    for name, texts in categories.items():
        values = features[:, columns.index(name)]
        if not np.isin(values[~np.isnan(values)], range(len(texts))).all():
            raise ValueError(f"column {name!r} must be indices of its {len(texts)} texts, or nan")
    with np.errstate(over="ignore"):  # what overflows becomes infinity, which is refused
        values = features.astype(np.float32)
        return values, checked_labels(target, classes) if classes else target.astype(np.float32)


def require_finite(
    pairs: Sequence[Pair], columns: Sequence[str], target_name: str, source: str, missing: Missing
) -> None:
    """UsageError: a value is infinite in float32, or missing where none may be."""
    features, targets = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    if bad := np.flatnonzero(~np.isfinite(targets)).tolist():
        rows = first_few([f"{row + 1:,}" for row in bad])
        raise UsageError(
            f"{source}: no finite {target_name!r} in {len(bad):,} of {len(targets):,} rows "
            f"({rows}); remove those"
        )
    is_missing = np.isnan(features) if missing == "refuse" else np.zeros(features.shape, bool)
    for kind, is_bad, hint in (
        ("infinite", np.isinf(features), "write numbers that float32 can hold"),
        ("missing", is_missing, 'missing="impute" lets the model fill them'),
    ):
        counts = is_bad.sum(axis=0)
        listed = [f"{columns[number]} ({counts[number]:,})" for number in counts.nonzero()[0]]
        if listed:
            raise UsageError(f"{source}: {kind} values in {first_few(listed, 20)}; {hint}")


def checked_labels(labels: Array, classes: int) -> Labels:
    """Integers (N,) as labels. ValueError: one of them is no index of the classes."""
    if not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"labels must be indices of the {classes} classes. "
            f"Received: {labels.min()} to {labels.max()}"
        )
    return labels.astype(np.int64)


def first_few(texts: Sequence[str], count: int = 5) -> str:
    """The first texts, and how many more there are."""
    more = len(texts) - count
    return ", ".join(texts[:count]) + (f" and {more:,} more" if more > 0 else "")
