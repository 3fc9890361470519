"""Canvases: what is on them, where, and what does not depend on what."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackml.data import ImageData
from trackml.data.canvases import SMALLEST_CANVAS, Canvases, DetectionData, Objects, on_canvases

GREY = {"train": 90, "validation": 150, "test": 210}  # so that a digit tells its split


def digits(rows: int = 12) -> ImageData:
    """Rectangles of random sizes, 20 pixels at most, in images of 28 x 28.

    Their grey is that of the split, and a little lighter with each label.
    """
    random = np.random.default_rng(0)
    labels = random.integers(10, size=3 * rows)
    images = np.zeros((3 * rows, 28, 28), np.uint8)
    for image, label, grey in zip(
        images, labels, np.repeat(list(GREY.values()), rows), strict=True
    ):
        height, width = random.integers(3, 21, size=2)
        image[4 : 4 + height, 4 : 4 + width] = grey + label
    return ImageData.from_arrays(
        "digits",
        (images[: 2 * rows], labels[: 2 * rows]),
        (images[2 * rows :], labels[2 * rows :]),
        classes=tuple("0123456789"),
        validation_split=0.5,
    )


def composed(size: int = 64, most: int = 3, seed: int = 0) -> DetectionData:
    return on_canvases("canvases", digits(), size=size, most=most, seed=seed)


def splits(data: DetectionData) -> dict[str, Canvases]:
    return {"train": data.train, "validation": data.validation, "test": data.test}


@settings(max_examples=25)
@given(st.integers(SMALLEST_CANVAS, 90), st.integers(1, 5), st.integers(0, 99))
def test_boxes_are_tight_and_do_not_overlap_and_nothing_is_outside(
    size: int, most: int, seed: int
) -> None:
    for split, canvases in splits(composed(size, most, seed)).items():
        assert canvases.images.shape == (12, size, size)
        for image, objects in zip(canvases.images, canvases.objects.per_image(12), strict=True):
            assert 1 <= len(objects) <= most
            rest = image.copy()
            for (x1, y1, x2, y2), label in zip(
                objects.boxes.astype(int), objects.labels, strict=True
            ):
                inside = rest[y1:y2, x1:x2]
                assert inside.shape == (y2 - y1, x2 - x1)  # all of it is on the canvas
                for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                    assert side.any()
                assert (inside == GREY[split] + label).all()  # of this split, and of its label
                rest[y1:y2, x1:x2] = 0
            assert not rest.any()


def test_each_canvas_has_its_own_digit_first_and_its_label() -> None:
    source = digits()
    for canvases, split in (
        (composed().train, source.train),
        (composed().validation, source.validation),
        (composed().test, source.test),
    ):
        first = [int(objects.labels[0]) for objects in canvases.objects.per_image(12)]
        assert first == split.labels.tolist()


def test_singles_have_one_each_and_are_the_test_canvases_where_those_have() -> None:
    data = composed(most=3)
    assert data.singles.objects.image.tolist() == list(range(12))
    assert data.singles.objects.labels.tolist() == digits().test.labels.tolist()
    assert data.train_singles.objects.labels.tolist() == digits().train.labels.tolist()
    alone = composed(most=1)
    assert alone.singles is alone.test
    assert len(alone.train.objects) == 12


def test_the_seed_is_that_of_the_training_canvases_alone() -> None:
    first, again, other = composed(seed=1), composed(seed=1), composed(seed=2)
    assert (first.train.images == again.train.images).all()
    assert (first.train.images != other.train.images).any()
    for held_out in ("validation", "test", "singles"):
        images, others = getattr(first, held_out).images, getattr(other, held_out).images
        assert (images == others).all()
    assert first.sha256 == again.sha256 == other.sha256


@pytest.mark.parametrize("changed", [{"size": 72}, {"most": 2}])
def test_other_canvases_have_another_sum(changed: dict[str, int]) -> None:
    assert composed(**changed).sha256 != composed().sha256


def test_sizes_and_places_vary() -> None:
    boxes = composed(most=1).train.objects.boxes
    assert len(np.unique(boxes[:, :2])) > 10
    original = [int(image.any(axis=0).sum()) for image in digits().train.images]
    widths = boxes[:, 2] - boxes[:, 0]
    ratios = widths / original
    assert ratios.min() < 0.9
    assert ratios.max() > 1.1


def test_what_is_loaded_cannot_be_written_to() -> None:
    data = composed()
    for array in (data.train.images, data.train.objects.boxes, data.test.objects.labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_objects_of_images_without_any_are_none() -> None:
    objects = Objects(
        np.array([1, 1, 3]),
        np.zeros((3, 4), np.float32),
        np.array([5, 6, 7]),
        np.ones(3, np.float32),
    )
    assert [each.labels.tolist() for each in objects.per_image(5)] == [[], [5, 6], [], [7], []]
