"""Random changes to training images, computed on whole batches as TensorFlow operations."""

import math
from collections.abc import Callable
from typing import Any

from trackml.tensorflow import tf


def random_affine(rotation: float, zoom: float, shift: float) -> Callable[[Any, Any], Any]:
    """Rotate, zoom and shift each image by its own random amounts, in one resampling.

    One bilinear resampling instead of three keeps more detail. What comes in from outside the
    image is black, as the background is.

    Args:
        rotation: largest angle to either side, degrees.
        zoom: largest relative change of size, 0.1 for 90 % to 110 %.
        shift: largest displacement to each side, as a share of width and height.

    Returns:
        A function of images (B, H, W), any real dtype, and a stateless seed, int32 (2,), that gives
        images float32 (B, H, W). The same seed gives the same images.
    """

    def augment(images: Any, seed: Any) -> Any:
        batch = tf.shape(images)[0]
        height, width = images.shape[1:]
        amounts = tf.random.stateless_uniform((4, batch), seed, minval=-1.0, maxval=1.0)
        angle = amounts[0] * math.radians(rotation)  # (B,)
        scale = 1.0 + amounts[1] * zoom
        right, down = amounts[2] * shift * width, amounts[3] * shift * height
        return _resample(images, angle, scale, right, down)

    return augment


def _resample(images: Any, angle: Any, scale: Any, right: Any, down: Any) -> Any:
    """Each image turned about its centre, scaled, then moved; the other arguments are (B,)."""
    height, width = images.shape[1:]
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    # The operation asks, for an output pixel (x, y), where in the input to read:
    # (a0 x + a1 y + a2, b0 x + b1 y + b2). So this is the inverse of what the image undergoes.
    a0, a1 = tf.cos(angle) / scale, -tf.sin(angle) / scale
    b0, b1 = tf.sin(angle) / scale, tf.cos(angle) / scale
    a2 = centre_x - a0 * (centre_x + right) - a1 * (centre_y + down)
    b2 = centre_y - b0 * (centre_x + right) - b1 * (centre_y + down)
    zero = tf.zeros_like(angle)
    resampled = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32)[..., tf.newaxis],
        transforms=tf.stack([a0, a1, a2, b0, b1, b2, zero, zero], axis=1),  # (B, 8)
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return resampled[..., 0]
