"""The data contract, on the real data."""

from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackml.data import ImageData, TableData, load
from trackml.data.catalog import FASHION_MNIST, MNIST
from trackml.data.formats import HOUSING_FEATURES
from trackml.data.splits import split_at_end, sum_of
from trackml.errors import UsageError


@pytest.mark.parametrize(
    ("name", "classes", "mean", "std"),
    [
        ("mnist", MNIST.classes, 0.13066, 0.30811),
        ("fashion_mnist", FASHION_MNIST.classes, 0.28604, 0.35302),
    ],
)
def test_image_datasets_keep_the_contract(
    name: Literal["mnist", "fashion_mnist"], classes: tuple[str, ...], mean: float, std: float
) -> None:
    data = load(name)
    sizes = [len(split) for split in (data.train, data.validation, data.test)]
    assert sizes == [54_000, 6_000, 10_000]
    assert data.classes == classes
    for split in (data.train, data.validation, data.test):
        assert split.images.shape == (len(split), 28, 28)
        assert split.images.dtype == np.dtype("uint8")
        assert split.labels.dtype == np.dtype("int64")
        assert set(np.unique(split.labels)) == set(range(10))
    official = np.concatenate([data.train.images, data.validation.images]) / 255
    assert official.mean() == pytest.approx(mean, abs=1e-5)
    assert official.std() == pytest.approx(std, abs=1e-5)


def test_every_class_of_fashion_mnist_has_its_share() -> None:
    data = load("fashion_mnist")
    labels = np.concatenate([data.train.labels, data.validation.labels])
    np.testing.assert_array_equal(np.bincount(labels), [6_000] * 10)
    np.testing.assert_array_equal(np.bincount(data.test.labels), [1_000] * 10)


def test_validation_rows_are_the_last_ones_and_limit_does_not_move_them() -> None:
    whole, small = load("fashion_mnist"), load("fashion_mnist", 0.1, limit=100)
    assert len(small.train) == 100
    np.testing.assert_array_equal(small.train.images, whole.train.images[:100])
    np.testing.assert_array_equal(small.validation.labels, whole.validation.labels)
    np.testing.assert_array_equal(small.test.images, whole.test.images)
    half = load("fashion_mnist", 0.5)
    np.testing.assert_array_equal(half.validation.images[-6_000:], whole.validation.images)
    assert small.sha256 == whole.sha256 == half.sha256


def test_arrays_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValueError, match="read-only"):
        load("mnist").train.images[0] = 0


def test_california_housing_keeps_the_contract() -> None:
    data = load("california_housing", validation_split=0.2)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [
        13_210,
        3_302,
        4_128,
    ]
    assert data.columns == HOUSING_FEATURES
    parts = (data.train, data.validation, data.test)
    target = np.concatenate([split.target for split in parts]).astype(np.float64)
    assert target.mean() == pytest.approx(2.068558, abs=1e-6)
    assert (target.min(), target.max()) == pytest.approx((0.14999, 5.00001))
    assert data.train.features.dtype == data.train.target.dtype == np.float32
    assert data.train.features.shape == (13_210, 8)


def test_housing_test_rows_are_those_of_train_test_split_with_seed_42() -> None:
    from sklearn.model_selection import train_test_split

    whole = load("california_housing", 0.2)
    _, test = train_test_split(np.arange(20_640), test_size=0.2, random_state=42)
    assert len(test) == len(whole.test)
    other_split = load("california_housing", 0.4, limit=10)
    np.testing.assert_array_equal(other_split.test.features, whole.test.features)
    np.testing.assert_array_equal(other_split.validation.target[-3_302:], whole.validation.target)


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_min=True, exclude_max=True), st.integers(0))
def test_splits_are_disjoint_and_complete(rows: int, share: float, limit: int) -> None:
    try:
        kept, held_out = split_at_end(rows, share, limit)
    except UsageError:
        assert round(rows * share) in {0, rows}
        return
    assert 0 == kept.start < kept.stop <= held_out.start < held_out.stop == rows
    assert kept.stop == (min(limit, held_out.start) if limit else held_out.start)


def test_a_split_that_leaves_nothing_is_refused_by_its_flag() -> None:
    with pytest.raises(UsageError, match=r"--validation_split 1e-07: .* 0 to validate on"):
        load("mnist", 1e-7)


def test_an_unknown_dataset_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no dataset 'cifar'; there are mnist"):
        load("cifar")  # type: ignore[call-overload]


def test_equal_arrays_have_equal_sums_and_others_do_not() -> None:
    images, labels = np.zeros((10, 4, 4), np.uint8), np.arange(10)
    classes = tuple("0123456789")

    def made(pixel: int) -> ImageData:
        changed = images.copy()
        changed[0, 0, 0] = pixel
        return ImageData.from_arrays(
            "own", (changed, labels), (images, labels), classes=classes, validation_split=0.5
        )

    assert made(0).sha256 == made(0).sha256 != made(1).sha256


def test_sums_tell_shapes_and_types_apart() -> None:
    sums = {sum_of(np.zeros(shape, dtype)) for shape in ((10, 2), (5, 4)) for dtype in ("f4", "i4")}
    assert len(sums) == 4


IMAGES = np.zeros((10, 4, 4), np.uint8)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES / 255, np.zeros(10, int), r"uint8 \(N, height, width\)\. Received: float64"),
        (IMAGES[..., None], np.zeros(10, int), r"Received: uint8 \(10, 4, 4, 1\)"),
        (IMAGES, np.zeros(7, int), r"10 images need as many labels\. Received: \(7,\)"),
        (IMAGES, np.full(10, 0.5), r"integers\. Received: float64"),
        (IMAGES[:0], np.zeros(0, int), r"at least one image"),
        (IMAGES, np.full(10, 3), r"indices of the 3 classes\. Received: 3 to 3"),
    ],
)
def test_arrays_of_ones_own_are_checked(images: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageData.from_arrays("own", (images, labels), (images, labels), classes="abc")


def test_test_images_must_be_as_large_as_those_of_training() -> None:
    labels = np.zeros(10, int)
    with pytest.raises(ValueError, match=r"as large as .* \(5, 5\) and \(4, 4\)"):
        ImageData.from_arrays(
            "own", (IMAGES, labels), (np.zeros((10, 5, 5), np.uint8), labels), classes="abc"
        )


def table(features: Any, target: Any, columns: str = "ab") -> TableData:
    part = (features, target)
    return TableData.from_arrays("own", part, part, columns=columns, validation_split=0.5)


def test_a_table_of_ones_own_is_split_and_summed_as_the_others() -> None:
    rows = np.arange(20).reshape(10, 2)
    made = table(rows, np.arange(10.0))
    assert made.train.features.dtype == made.train.target.dtype == np.float32
    np.testing.assert_array_equal(made.validation.features, rows[5:])
    assert made.columns == ("a", "b")
    assert made.sha256 == table(rows, np.arange(10)).sha256 != table(rows, np.ones(10)).sha256


def test_frames_and_lists_are_arrays_too() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": [5, 6, 7, 8]})
    made = table(frame, frame["b"])
    assert made.sha256 == table(frame.to_numpy().tolist(), frame["b"].tolist()).sha256
    np.testing.assert_array_equal(made.validation.target, [7, 8])


@pytest.mark.parametrize(
    ("features", "target", "columns", "message"),
    [
        (np.ones((4, 1)), np.ones(4), "ab", r"\(N, 2\), a column for each of a, b.*\(4, 1\)"),
        (np.ones((4, 2)), np.ones((4, 1)), "ab", r"the target \(N,\)\. Received: .* \(4, 1\)"),
        (np.ones((3, 2)), np.ones(4), "ab", r"Received: \(3, 2\) and \(4,\)"),
        (np.ones((4, 2)), np.float64(1), "ab", r"the target \(N,\)\. Received: \(4, 2\) and \(\)"),
        ([[1, 2], [3, 4]], [1, 2, 3], "ab", r"Received: \(2, 2\) and \(3,\)"),
        (np.ones((0, 2)), np.ones(0), "ab", "at least one row"),
        (np.ones((4, 2)), np.ones(4), "aa", "names of their own"),
        (np.full((4, 2), np.nan), np.ones(4), "ab", "finite numbers"),
        (np.full((4, 2), 1e39), np.ones(4), "ab", "finite numbers"),
    ],
)
def test_a_table_of_ones_own_is_checked(
    features: Any, target: Any, columns: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        table(features, target, columns)
