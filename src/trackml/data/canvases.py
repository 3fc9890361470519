"""Images with objects in them: digits at random places and sizes on canvases, with their boxes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trackml.data.images import ImageData, Images, ImageSplit, Labels
from trackml.data.splits import read_only, sum_of

SMALLEST_CANVAS = 40  # pixels: a digit of 28, enlarged by the most, fits
SCALES = (0.7, 1.3)  # of a digit's own size
ATTEMPTS = 30  # to find a free place, before a further digit is left out
TRAIN_SINGLES = 2_000  # enough to see whether the training data are known by heart
HELD_OUT_SEED = 28_28  # of the canvases to validate and to test on, whatever a run's own seed

Boxes = NDArray[np.float32]


@dataclass(frozen=True)
class Objects:
    """Objects in images, those of an image together, images in order.

    Attributes:
        image: int64 (M,), the index of each object's image.
        boxes: float32 (M, 4), x1, y1, x2 and y2 in pixels from the top left corner.
        labels: int64 (M,), indices of the classes.
        scores: float32 (M,), from 0 to 1, how sure it is that the object is there.
    """

    image: NDArray[np.int64]
    boxes: Boxes
    labels: Labels
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.image)

    def per_image(self, images: int) -> "Iterator[Objects]":
        """The objects of each of so many images."""
        ends = np.searchsorted(self.image, np.arange(images + 1))
        for first, last in pairwise(ends):
            yield self.at(slice(first, last))

    def at(self, rows: slice | NDArray[np.bool_]) -> "Objects":
        """Some of these objects."""
        return Objects(self.image[rows], self.boxes[rows], self.labels[rows], self.scores[rows])


@dataclass(frozen=True)
class Canvases:
    """images: uint8 (N, size, size), raw pixels. objects: all that is on them."""

    images: Images
    objects: Objects

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class DetectionData:
    """Canvases to train, validate and test on, and some with one object each.

    Attributes:
        singles: each with one of the test objects, and nothing else.
        train_singles: the same with the first training objects.
        sha256: identifies the canvases to validate and to test on.
        source: delivered the objects.
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


def on_canvases(name: str, digits: ImageData, *, size: int, most: int, seed: int) -> DetectionData:
    """Put the images of each split on canvases: image N on canvas N, with others of its split.

    Boxes are tight, and do not overlap. Canvases to validate and to test on do not depend on
    `seed`, so that scores compare between runs.

    Args:
        size: of the square canvases, pixels.
        most: images on a canvas: each has from 1 to so many, all equally likely. One for which
            no place is free is left out, but never the canvas's own.
        seed: of the canvases to train on.
    """
    validation = _compose(digits.validation, size, most, (HELD_OUT_SEED, 1))
    test = _compose(digits.test, size, most, (HELD_OUT_SEED, 2))
    few = ImageSplit(digits.train.images[:TRAIN_SINGLES], digits.train.labels[:TRAIN_SINGLES])
    held_out = (validation.images, validation.objects.boxes, validation.objects.labels)
    tested = (test.images, test.objects.boxes, test.objects.labels)
    return DetectionData(
        name,
        train=_compose(digits.train, size, most, (seed, 0)),
        validation=validation,
        test=test,
        singles=test if most == 1 else _compose(digits.test, size, 1, (HELD_OUT_SEED, 2)),
        train_singles=_compose(few, size, 1, (HELD_OUT_SEED, 0)),
        classes=digits.classes,
        sha256=sum_of(*held_out, *tested),
        source=digits.source,
    )


def _compose(split: ImageSplit, size: int, most: int, seed: Sequence[int]) -> Canvases:
    random = np.random.default_rng(seed)
    canvases = np.zeros((len(split), size, size), np.uint8)
    found: list[tuple[int, int, tuple[int, int, int, int]]] = []
    for number, canvas in enumerate(canvases):
        others = random.integers(len(split), size=random.integers(most))
        taken: list[tuple[int, int, int, int]] = []
        for index in (number, *others):
            digit = _scaled(split.images[index], random.uniform(*SCALES))
            if box := _free_place(digit.shape, size, taken, random):
                x1, y1, x2, y2 = box
                canvas[y1:y2, x1:x2] = digit
                taken.append(box)
                found.append((number, split.labels[index], box))
    image, labels, boxes = zip(*found, strict=True)
    objects = Objects(
        read_only(np.array(image, np.int64)),
        read_only(np.array(boxes, np.float32)),
        read_only(np.array(labels, np.int64)),
        read_only(np.ones(len(found), np.float32)),
    )
    return Canvases(read_only(canvases), objects)


def _scaled(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """What is not black of an image (H, W), in another size: (h, w), with no black margin."""
    digit = _without_margin(image)
    height, width = (max(1, round(side * scale)) for side in digit.shape)
    resized = Image.fromarray(digit).resize((width, height), Image.Resampling.BILINEAR)
    return _without_margin(np.asarray(resized))  # its faintest pixels may have been rounded away


def _without_margin(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _free_place(
    shape: tuple[int, ...],
    size: int,
    taken: Sequence[tuple[int, int, int, int]],
    random: np.random.Generator,
) -> tuple[int, int, int, int] | None:
    """A random box (x1, y1, x2, y2) of that (height, width) that overlaps none, if one is found."""
    height, width = shape
    for _ in range(ATTEMPTS):
        x, y = int(random.integers(size - width + 1)), int(random.integers(size - height + 1))
        if all(
            x >= right or y >= bottom or x + width <= left or y + height <= top
            for left, top, right, bottom in taken
        ):
            return x, y, x + width, y + height
    return None
