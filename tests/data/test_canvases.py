"""Canvases: which digits are on them, where, and what depends on the seed."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from trackml.data import ImageData
from trackml.data.canvases import (
    MIN_CANVAS_SIZE,
    Canvases,
    DetectionData,
    Objects,
    on_canvases,
)

GRAY = {"train": 90, "validation": 150, "test": 210}  # so that a digit shows its split


def digits(rows: int = 12) -> ImageData:
    """Rectangles of random sizes, 20 pixels at most, in images of 28 x 28.

    Their gray is that of the split, and a little lighter with each label.
    """
    random = np.random.default_rng(0)
    labels = np.concatenate([random.permutation(np.arange(rows) % 10) for _ in GRAY])
    images = np.zeros((3 * rows, 28, 28), np.uint8)
    grays = np.repeat(list(GRAY.values()), rows)
    for image, label, gray in zip(images, labels, grays, strict=True):
        height, width = random.integers(3, 21, size=2)
        image[4 : 4 + height, 4 : 4 + width] = gray + label
    train, test = slice(2 * rows), slice(2 * rows, None)
    return ImageData.from_arrays(
        "digits",
        (images[train], labels[train]),
        (images[test], labels[test]),
        classes="0123456789",
        validation_split=0.5,
        keep_order=True,
    )


def composed(size: int = 64, max_digits: int = 3, seed: int = 0) -> DetectionData:
    return on_canvases("canvases", digits(), size=size, max_digits=max_digits, seed=seed)


def splits(data: DetectionData) -> dict[str, Canvases]:
    return {name: getattr(data, name) for name in GRAY}


@settings(max_examples=25)
@given(st.integers(MIN_CANVAS_SIZE, 90), st.integers(1, 5), st.integers(0, 99))
def test_boxes_are_tight_and_do_not_overlap_and_nothing_is_outside(
    size: int, max_digits: int, seed: int
) -> None:
    for split, canvases in splits(composed(size, max_digits, seed)).items():
        assert canvases.images.shape == (12, size, size)
        for image, objects in zip(canvases.images, canvases.objects.per_image(12), strict=True):
            assert 1 <= len(objects) <= max_digits
            rest = image.copy()
            for (x1, y1, x2, y2), label in zip(
                objects.boxes.astype(int), objects.labels, strict=True
            ):
                inside = rest[y1:y2, x1:x2]
                assert inside.shape == (y2 - y1, x2 - x1)  # all of it is on the canvas
                for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                    assert side.any()
                assert (inside == GRAY[split] + label).all()  # of this split, and of its label
                rest[y1:y2, x1:x2] = 0
            assert not rest.any()


def test_each_canvas_has_its_own_digit_first_and_its_label() -> None:
    for name, canvases in splits(composed()).items():
        first = [int(objects.labels[0]) for objects in canvases.objects.per_image(12)]
        assert first == getattr(digits(), name).labels.tolist()


def test_singles_have_one_digit_each_and_are_the_test_canvases_where_those_have() -> None:
    data = composed(max_digits=3)
    assert data.singles.objects.image.tolist() == list(range(12))
    assert data.singles.objects.labels.tolist() == digits().test.labels.tolist()
    assert data.train_singles.objects.labels.tolist() == digits().train.labels.tolist()
    alone = composed(max_digits=1)
    assert alone.singles is alone.test
    assert len(alone.train.objects) == 12


def test_only_the_training_canvases_depend_on_the_seed() -> None:
    first, again, other = composed(seed=1), composed(seed=1), composed(seed=2)
    assert (first.train.images == again.train.images).all()
    assert (first.train.images != other.train.images).any()
    for held_out in ("validation", "test", "singles"):
        images, others = getattr(first, held_out).images, getattr(other, held_out).images
        assert (images == others).all()
    assert first.sha256 == again.sha256 == other.sha256


@pytest.mark.parametrize("changed", [{"size": 72}, {"max_digits": 2}])
def test_other_canvases_have_another_checksum(changed: dict[str, int]) -> None:
    assert composed(**changed).sha256 != composed().sha256


def test_sizes_and_positions_vary() -> None:
    boxes = composed(max_digits=1).train.objects.boxes
    assert len(np.unique(boxes[:, :2])) > 10
    original = [int(image.any(axis=0).sum()) for image in digits().train.images]
    ratios = (boxes[:, 2] - boxes[:, 0]) / original
    assert ratios.min() < 0.9
    assert ratios.max() > 1.1


def test_canvases_cannot_be_written_to() -> None:
    data = composed()
    for array in (data.train.images, data.train.objects.boxes, data.test.objects.labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_images_without_objects_have_none() -> None:
    image, boxes, labels = np.array([1, 1, 3]), np.zeros((3, 4), np.float32), np.array([5, 6, 7])
    objects = Objects(image, boxes, labels, scores=np.ones(3, np.float32))
    assert [each.labels.tolist() for each in objects.per_image(5)] == [[], [5, 6], [], [7], []]
