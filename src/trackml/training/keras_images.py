"""`Changes` of images in TensorFlow."""

from typing import Any

from trackml.backends import tf
from trackml.training.augmentation import Changes


def as_tensors(changes: Changes) -> Changes:
    """The same changes as tensors."""
    return Changes(*(None if part is None else tf.constant(part) for part in changes))


def change(images: Any, changes: Changes) -> Any:
    """Images moved, erased and mixed, of the same shape: (B, H, W) or (B, H, W, C)."""
    if changes.maps is not None:
        images = _resample(images, changes.maps)
    if changes.boxes is not None:
        images = tf.cast(images, tf.float32)
        images = tf.where(_erased(changes.boxes, images), 0.0, images)
    return images if changes.shares is None else mix(images, changes.shares)


def mix(values: Any, shares: Any) -> Any:
    """Each row (B, ...) with the one at the same place from the end."""
    values = tf.cast(values, tf.float32)
    shares = tf.reshape(shares, (-1, *[1] * (len(values.shape) - 1)))
    return shares * values + (1.0 - shares) * tf.reverse(values, [0])


def _resample(images: Any, maps: Any) -> Any:
    is_gray = len(images.shape) == 3
    images = tf.cast(images, tf.float32)
    rows = tf.reshape(maps, (-1, 6))
    resampled = tf.raw_ops.ImageProjectiveTransformV3(
        images=images[..., tf.newaxis] if is_gray else images,
        transforms=tf.pad(rows, [(0, 0), (0, 2)]),  # (B, 8): without perspective
        output_shape=images.shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return resampled[..., 0] if is_gray else resampled


def _erased(boxes: Any, images: Any) -> Any:
    """True for each pixel in a box: (B, H, W), with an axis of size 1 for channels."""
    height, width = images.shape[1:3]
    top, bottom, left, right = tf.unstack(boxes[..., tf.newaxis], axis=1)  # (B, 1) each
    y, x = tf.range(height, dtype=tf.float32), tf.range(width, dtype=tf.float32)
    rows, columns = (top <= y) & (y < bottom), (left <= x) & (x < right)
    erased = rows[:, :, tf.newaxis] & columns[:, tf.newaxis, :]
    return erased[..., tf.newaxis] if len(images.shape) == 4 else erased
