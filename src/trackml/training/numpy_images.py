"""`Changes` of images in NumPy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trackml.data import ImageSplit
from trackml.training.augmentation import Augmentation, Changes, draw

Array = NDArray[Any]


def examples(
    split: ImageSplit, augmentation: Augmentation | None, seed: int
) -> NDArray[np.float32] | None:
    """The first ten images as they may be in training, float32; None without augmentation.

    >>> split = ImageSplit(np.ones((50, 28, 28), np.uint8), np.zeros(50, np.int64))
    >>> examples(split, Augmentation(mirror=True), seed=0).shape
    (10, 28, 28)
    """
    if augmentation is None:
        return None
    images, random = split.images[:10], np.random.default_rng((seed, 0))
    return change(images, draw(augmentation, len(images), images.shape[1:], random))


def change(images: Array, changes: Changes) -> NDArray[np.float32]:
    """Images moved, erased and mixed: (B, H, W) or (B, H, W, C) → float32 of the same shape."""
    if changes.maps is not None:
        images = _resample(images, changes.maps)
    if changes.boxes is not None:
        images = images * ~_erased(changes.boxes, images)
    if changes.shares is not None:
        images = mix(images, changes.shares)
    return images.astype(np.float32)


def mix(values: Array, shares: Array) -> Array:
    """Each row (B, ...) with the one at the same place from the end."""
    shares = shares.reshape(-1, *[1] * (values.ndim - 1))
    mixed: Array = shares * values + (1 - shares) * values[::-1]
    return mixed


def _resample(images: Array, maps: Array) -> NDArray[np.float32]:
    count, height, width = images.shape[:3]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    pixels = np.stack([x.ravel(), y.ravel(), np.ones(x.size, np.float32)])  # (3, H * W)
    x, y = np.moveaxis(maps @ pixels, 1, 0)  # (B, H * W) each: where the image is read
    # A black frame, to which whatever is outside is moved.
    framed = np.pad(images, [(0, 0), (1, 1), (1, 1)] + [(0, 0)] * (images.ndim - 3))
    rows = framed.astype(np.float32).reshape(count, (height + 2) * (width + 2), -1)
    x, y = np.clip(x, -1, width) + 1, np.clip(y, -1, height) + 1
    left, top = np.minimum(x.astype(np.intp), width), np.minimum(y.astype(np.intp), height)
    x, y = (x - left)[..., np.newaxis], (y - top)[..., np.newaxis]
    corner, image = top * (width + 2) + left, np.arange(count)[:, np.newaxis]

    def at(offset: int) -> Array:
        values: Array = rows[image, corner + offset]
        return values

    upper = at(0) * (1 - x) + at(1) * x
    lower = at(width + 2) * (1 - x) + at(width + 3) * x
    resampled: NDArray[np.float32] = (upper * (1 - y) + lower * y).reshape(images.shape)
    return resampled


def _erased(boxes: Array, images: Array) -> Array:
    """True for each pixel in a box: (B, H, W), with an axis of size 1 for channels."""
    height, width = images.shape[1:3]
    top, bottom, left, right = boxes.T[..., np.newaxis]
    y, x = np.arange(height), np.arange(width)
    rows, columns = (top <= y) & (y < bottom), (left <= x) & (x < right)
    erased = rows[:, :, np.newaxis] & columns[:, np.newaxis, :]
    shaped: Array = erased.reshape(*erased.shape, *[1] * (images.ndim - 3))
    return shaped
