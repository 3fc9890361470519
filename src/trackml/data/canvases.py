"""Digits at random positions and sizes on canvases, with their bounding boxes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trackml.data.arrays import Images, Labels, arrays_sha256, read_only
from trackml.data.images import ImageData, ImageSplit
from trackml.data.tables import TableData

MIN_CANVAS_SIZE = 40  # pixels: a digit of 28, enlarged as much as possible, fits
SCALES = (0.7, 1.3)  # of a digit's own size
ATTEMPTS = 30  # to find a free position, before a further digit is left out
TRAIN_SINGLES = 2_000  # enough to see whether the network overfits
HELD_OUT_SEED = 28_28  # of the validation and test canvases, whatever a run's own seed

Boxes = NDArray[np.float32]
Box = tuple[int, int, int, int]  # x1, y1, x2, y2


@dataclass(frozen=True)
class Objects:
    """Objects in images, sorted by image.

    Attributes:
        image: int64 (M,), the index of each object's image.
        boxes: float32 (M, 4), x1, y1, x2 and y2 in pixels from the top left corner.
        labels: int64 (M,), indices of the classes.
        scores: float32 (M,), confidence from 0 to 1.
    """

    image: NDArray[np.int64]
    boxes: Boxes
    labels: Labels
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.image)

    def per_image(self, images: int) -> "Iterator[Objects]":
        """The objects of each image."""
        ends = np.searchsorted(self.image, np.arange(images + 1))
        for first, last in pairwise(ends):
            yield self.at(slice(first, last))

    def at(self, rows: slice | NDArray[np.bool_]) -> "Objects":
        """The objects in these rows."""
        return Objects(self.image[rows], self.boxes[rows], self.labels[rows], self.scores[rows])


@dataclass(frozen=True)
class Canvases:
    """images: uint8 (N, size, size), raw pixels. objects: all objects on them."""

    images: Images
    objects: Objects

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class DetectionData:
    """Canvases to train, validate and test on, and some with one object each.

    Attributes:
        singles: a canvas for each image of the test split.
        train_singles: a canvas for each of the first training images.
        sha256: identifies the validation and test canvases.
        source: of the images.
        compose: draws other training canvases; None if there are no images to compose them of.
    """

    name: str
    train: Canvases
    validation: Canvases
    test: Canvases
    singles: Canvases
    train_singles: Canvases
    classes: tuple[str, ...]
    sha256: str
    source: str
    compose: Callable[[np.random.Generator], Canvases] | None = None


Data = ImageData | TableData | DetectionData
"""All kinds of data that a task may have."""


def on_canvases(
    name: str, digits: ImageData, *, size: int, max_digits: int, seed: int
) -> DetectionData:
    """Put the images of each split on canvases: image N on canvas N, with others of its split.

    Boxes are tight, and do not overlap. Validation and test canvases do not depend on `seed`, so
    that scores of runs are comparable.

    Args:
        size: side of the square canvases, pixels.
        max_digits: each canvas gets 1 to so many, all numbers equally likely. A digit for which
            there is no free position is left out, but never the canvas's own.
        seed: of the training canvases.
    """
    validation = _compose(digits.validation, size, max_digits, (HELD_OUT_SEED, 1))
    test = _compose(digits.test, size, max_digits, (HELD_OUT_SEED, 2))
    few = ImageSplit(digits.train.images[:TRAIN_SINGLES], digits.train.labels[:TRAIN_SINGLES])
    held_out = (validation.images, validation.objects.boxes, validation.objects.labels)
    tested = (test.images, test.objects.boxes, test.objects.labels)
    return DetectionData(
        name,
        train=_compose(digits.train, size, max_digits, (seed, 0)),
        validation=validation,
        test=test,
        singles=test if max_digits == 1 else _compose(digits.test, size, 1, (HELD_OUT_SEED, 2)),
        train_singles=_compose(few, size, 1, (HELD_OUT_SEED, 0)),
        classes=digits.classes,
        sha256=arrays_sha256(*held_out, *tested),
        source=digits.source,
        compose=partial(_compose, digits.train, size, max_digits),
    )


def _compose(
    split: ImageSplit, size: int, max_digits: int, seed: Sequence[int] | np.random.Generator
) -> Canvases:
    random = np.random.default_rng(seed)
    canvases = np.zeros((len(split), size, size), np.uint8)
    placed: list[tuple[int, int, Box]] = []
    for number, canvas in enumerate(canvases):
        others = random.integers(len(split), size=random.integers(max_digits))
        taken: list[Box] = []
        for index in (number, *others):
            digit = _scaled(split.images[index], random.uniform(*SCALES))
            if box := _free_box(digit.shape, size, taken, random):
                x1, y1, x2, y2 = box
                canvas[y1:y2, x1:x2] = digit
                taken.append(box)
                placed.append((number, split.labels[index], box))
    image, labels, boxes = zip(*placed, strict=True)
    objects = Objects(
        read_only(np.array(image, np.int64)),
        read_only(np.array(boxes, np.float32)),
        read_only(np.array(labels, np.int64)),
        read_only(np.ones(len(placed), np.float32)),
    )
    return Canvases(read_only(canvases), objects)


def _scaled(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """An image (H, W) without its black margin, scaled: (h, w), again without a margin."""
    digit = _without_margin(image)
    height, width = (max(1, round(side * scale)) for side in digit.shape)
    resized = Image.fromarray(digit).resize((width, height), Image.Resampling.BILINEAR)
    return _without_margin(np.asarray(resized))  # its faintest pixels may have become black


def _without_margin(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _free_box(
    shape: tuple[int, ...], size: int, taken: Sequence[Box], random: np.random.Generator
) -> Box | None:
    """A random box of a shape (height, width) that overlaps no other, if it finds one."""
    height, width = shape
    for _ in range(ATTEMPTS):
        x, y = int(random.integers(size - width + 1)), int(random.integers(size - height + 1))
        if all(
            x >= right or y >= bottom or x + width <= left or y + height <= top
            for left, top, right, bottom in taken
        ):
            return x, y, x + width, y + height
    return None
