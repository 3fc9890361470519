"""Random changes to training images: drawn for a whole epoch, the same for every framework.

Each framework applies them to its batches: `keras_images`, `torch_images`, `numpy_images`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from trackml.training.limits import checked

Array = NDArray[Any]


@dataclass(frozen=True)
class Augmentation:
    """How training images change, each by its own random amounts, anew in each epoch.

    All moves of an image are one bilinear resampling, which keeps more detail than several. Pixels
    from outside the image are black.

    >>> Augmentation(rotation=10, zoom=0.1, shift=0.08)
    Augmentation(rotation=10, zoom=0.1, shift=0.08, mirror=False, pad=0, erase=0.0, mixup=0.0)

    Attributes:
        rotation: largest angle in either direction, degrees.
        zoom: largest relative change of size: 0.1 for 90 % to 110 %.
        shift: largest displacement in each direction, as a share of width and height.
        mirror: half of the images are mirrored left to right.
        pad: largest displacement in each direction in whole pixels, which blurs nothing: the same
            as a random crop of the image with so many black pixels around it.
        erase: largest side of a black rectangle with its center anywhere, as a share of the image's
            sides: random erasing (Zhong et al., 2017), cutout (DeVries & Taylor, 2017).
        mixup: an image becomes share * image + (1 - share) * another one of its batch, and so does
            its target; share is from Beta(mixup, mixup), and at least 1/2 (Zhang et al., 2017).
            0 = never.

    Raises:
        ValueError: a value is not allowed.
    """

    rotation: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    mirror: bool = False
    pad: int = 0
    erase: float = 0.0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        checked("rotation", self.rotation, max_value=180)
        checked("zoom", self.zoom, below=1)
        checked("shift", self.shift, max_value=1)
        checked("pad", self.pad)
        if self.pad != int(self.pad):
            raise ValueError(f"pad must be a number of whole pixels. Received: {self.pad!r}")
        checked("erase", self.erase, max_value=1)
        checked("mixup", self.mixup)

    @property
    def moves(self) -> bool:
        """True if images are resampled."""
        return bool(self.rotation or self.zoom or self.shift or self.mirror or self.pad)


@dataclass(frozen=True)
class Changes:
    """What happens to N images; None where nothing does.

    Attributes:
        maps: from an output pixel (x, y, 1) to where the image is read, pixels: float32 (N, 2, 3).
        boxes: top, bottom, left and right of what is erased, pixels: float32 (N, 4).
        shares: of each image in its mixture, float32 (N,). The rest is from the image at the same
            place from the end of the batch.
    """

    maps: Any = None
    boxes: Any = None
    shares: Any = None

    def __getitem__(self, rows: slice) -> Self:
        return type(self)(*(None if part is None else part[rows] for part in self))

    def __iter__(self) -> Iterator[Any]:
        return iter((self.maps, self.boxes, self.shares))


def draw(
    augmentation: Augmentation | None,
    count: int,
    size: tuple[int, ...],
    random: np.random.Generator,
) -> Changes:
    """Random changes for so many images of (height, width, ...) pixels."""
    if augmentation is None:
        return Changes()
    return Changes(
        maps=_maps(augmentation, count, size, random) if augmentation.moves else None,
        boxes=_boxes(augmentation.erase, count, size, random) if augmentation.erase else None,
        shares=_shares(augmentation.mixup, count, random) if augmentation.mixup else None,
    )


def partners(count: int, batch_size: int) -> Array:
    """For each row of an epoch, the one that it is mixed with: int (count,).

    >>> partners(5, batch_size=3)
    array([2, 1, 0, 4, 3])
    """
    rows = np.arange(count)
    first = rows // batch_size * batch_size
    return first + np.minimum(first + batch_size, count) - 1 - rows


def _maps(
    augmentation: Augmentation, count: int, size: tuple[int, ...], random: np.random.Generator
) -> Array:
    """Each image is mirrored, rotated about its center, scaled, then shifted."""
    height, width = size[:2]
    angle, zoom, right, down = random.uniform(-1, 1, (4, count))
    angle = angle * math.radians(augmentation.rotation)
    scale = 1 + zoom * augmentation.zoom
    pixels = random.integers(-augmentation.pad, augmentation.pad, (2, count), endpoint=True)
    right = right * augmentation.shift * width + pixels[0]
    down = down * augmentation.shift * height + pixels[1]
    side = random.choice((-1, 1), count) if augmentation.mirror else 1
    return affine_maps((height, width), angle, scale, right, down, side)


def affine_maps(
    size: tuple[int, int], angle: Any, scale: Any, right: Any, down: Any, side: Any = 1
) -> Array:
    """The maps of `Changes`: the inverse of what happens to each image.

    Args:
        angle: about the center, radians. scale: above 1 enlarges. right, down: pixels; all (N,).
        side: -1 where the image is mirrored first, else 1.
    """
    center_y, center_x = (size[0] - 1) / 2, (size[1] - 1) / 2
    sine, cosine = np.sin(angle) / scale, np.cos(angle) / scale
    a0, a1, b0, b1 = np.broadcast_arrays(side * cosine, -side * sine, sine, cosine)
    a2 = center_x - a0 * (center_x + right) - a1 * (center_y + down)
    b2 = center_y - b0 * (center_x + right) - b1 * (center_y + down)
    maps: Array = np.stack([a0, a1, a2, b0, b1, b2], axis=1).reshape(-1, 2, 3).astype(np.float32)
    return maps


def _boxes(erase: float, count: int, size: tuple[int, ...], random: np.random.Generator) -> Array:
    sides = np.array(size[:2])
    lengths = random.uniform(0, erase, (count, 2)) * sides
    first = random.uniform(0, 1, (count, 2)) * sides - lengths / 2
    top, left = first.round().T
    bottom, right = (first + lengths).round().T
    return np.stack([top, bottom, left, right], axis=1).astype(np.float32)


def _shares(mixup: float, count: int, random: np.random.Generator) -> Array:
    shares = random.beta(mixup, mixup, count).astype(np.float32)
    return np.maximum(shares, 1 - shares)
