"""Random changes to training images, computed on whole batches as TensorFlow operations."""

import math
from collections.abc import Callable
from typing import Any

from trackml.backends import tf


def random_affine(rotation: float, zoom: float, shift: float) -> Callable[[Any, Any], Any]:
    """Rotate, zoom and shift each image by its own random amounts.

    One bilinear resampling keeps more detail than three. Pixels from outside the image are black.

    Args:
        rotation: maximum angle in either direction, degrees.
        zoom: maximum relative change of size: 0.1 for 90 % to 110 %.
        shift: maximum displacement in each direction, as a share of width and height.

    Returns:
        A function of images (B, H, W) or (B, H, W, C), any real dtype, and a stateless seed,
        int32 (2,), that returns float32 images of the same shape.

    >>> random_affine(10, 0.1, 0.1)(tf.zeros((5, 28, 28)), [0, 1]).shape
    TensorShape([5, 28, 28])
    """

    def augment(images: Any, seed: Any) -> Any:
        batch = tf.shape(images)[0]
        height, width = images.shape[1:3]
        amounts = tf.random.stateless_uniform((4, batch), seed, minval=-1.0, maxval=1.0)
        angle = amounts[0] * math.radians(rotation)  # (B,)
        scale = 1.0 + amounts[1] * zoom
        right, down = amounts[2] * shift * width, amounts[3] * shift * height
        return _resample(images, angle, scale, right, down)

    return augment


def _resample(images: Any, angle: Any, scale: Any, right: Any, down: Any) -> Any:
    """Each image rotated about its center, scaled, then shifted by pixels; each amount is (B,)."""
    height, width = images.shape[1:3]
    is_gray = len(images.shape) == 3
    center_x, center_y = (width - 1) / 2, (height - 1) / 2
    # For an output pixel (x, y), the operation reads the input at
    # (a0 x + a1 y + a2, b0 x + b1 y + b2): the inverse of what happens to the image.
    a0, a1 = tf.cos(angle) / scale, -tf.sin(angle) / scale
    b0, b1 = tf.sin(angle) / scale, tf.cos(angle) / scale
    a2 = center_x - a0 * (center_x + right) - a1 * (center_y + down)
    b2 = center_y - b0 * (center_x + right) - b1 * (center_y + down)
    zero, images = tf.zeros_like(angle), tf.cast(images, tf.float32)
    resampled = tf.raw_ops.ImageProjectiveTransformV3(
        images=images[..., tf.newaxis] if is_gray else images,
        transforms=tf.stack([a0, a1, a2, b0, b1, b2, zero, zero], axis=1),  # (B, 8)
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return resampled[..., 0] if is_gray else resampled
