"""The data contract on the real data, and on arrays of a user's own."""

from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from sklearn.model_selection import train_test_split

from trackml.data import ImageData, TableData, load
from trackml.data.arrays import arrays_sha256, split_at_end
from trackml.data.datasets import FASHION_MNIST
from trackml.data.formats import HOUSING_FEATURES
from trackml.errors import UsageError


@pytest.mark.parametrize(
    ("name", "classes", "mean", "std"),
    [
        ("mnist", tuple("0123456789"), 0.13066, 0.30811),
        ("fashion_mnist", FASHION_MNIST.classes, 0.28604, 0.35302),
    ],
)
def test_image_datasets_keep_the_contract(
    name: Literal["mnist", "fashion_mnist"], classes: tuple[str, ...], mean: float, std: float
) -> None:
    data = load(name)
    splits = (data.train, data.validation, data.test)
    assert [len(split) for split in splits] == [54_000, 6_000, 10_000]
    assert data.classes == classes
    for split in splits:
        assert split.images.shape == (len(split), 28, 28)
        assert split.images.dtype == np.uint8
        assert split.labels.dtype == np.int64
        assert set(np.unique(split.labels)) == set(range(10))
    official = np.concatenate([data.train.images, data.validation.images]) / 255
    assert official.mean() == pytest.approx(mean, abs=1e-5)
    assert official.std() == pytest.approx(std, abs=1e-5)


def test_all_classes_of_fashion_mnist_are_of_equal_size() -> None:
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


def test_california_housing_keeps_the_contract() -> None:
    data = load("california_housing", validation_split=0.2)
    parts = (data.train, data.validation, data.test)
    assert [len(split) for split in parts] == [13_210, 3_302, 4_128]
    assert data.columns == HOUSING_FEATURES
    target = np.concatenate([split.target for split in parts]).astype(np.float64)
    assert target.mean() == pytest.approx(2.068558, abs=1e-6)
    assert (target.min(), target.max()) == pytest.approx((0.14999, 5.00001))
    assert data.train.features.dtype == data.train.target.dtype == np.float32
    assert data.train.features.shape == (13_210, 8)


def test_housing_test_rows_are_those_of_train_test_split_with_seed_42() -> None:
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


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("mnist", 1e-7, r"--validation_split 1e-07: .* 0 to validate on"),
        ("cifar", 0.1, "there is no dataset 'cifar'; there are mnist"),
    ],
)
def test_an_empty_split_and_an_unknown_dataset_are_refused(
    name: Any, split: float, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        load(name, split)


def test_the_checksum_depends_on_values_shapes_and_types() -> None:
    checksums = {
        arrays_sha256(np.full(shape, value, dtype))
        for shape in ((10, 2), (5, 4))
        for dtype in ("f4", "i4")
        for value in (0, 1)
    }
    assert len(checksums) == 8
    assert arrays_sha256(np.zeros((10, 2), "f4")) in checksums


IMAGES = np.zeros((10, 4, 4), np.uint8)
LABELS = np.arange(10) % 3


def images_of(images: Any, labels: Any, *test: Any) -> ImageData:
    part = (images, labels)
    return ImageData.from_arrays("own", part, test or part, classes="abc", validation_split=0.5)


def table_of(features: Any, target: Any, columns: str = "ab") -> TableData:
    part = (features, target)
    return TableData.from_arrays("own", part, part, columns=columns, validation_split=0.5)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((IMAGES / 255, LABELS), r"uint8 \(N, height, width\)\. Received: float64"),
        ((IMAGES[..., None], LABELS), r"Received: uint8 \(10, 4, 4, 1\)"),
        ((IMAGES, LABELS[:7]), r"Received: 10 images and labels int64 \(7,\)"),
        ((IMAGES, np.full(10, 0.5)), r"integer label .* 10 images and labels float64"),
        ((IMAGES[:0], LABELS[:0]), "at least one image.* Received: 0 images"),
        ((IMAGES, LABELS + 1), r"indices of the 3 classes\. Received: 1 to 3"),
        ((IMAGES, LABELS - 1), r"indices of the 3 classes\. Received: -1 to 1"),
        ((IMAGES, LABELS, IMAGES[:, 1:], LABELS), r"have the size of .* \(3, 4\) and \(4, 4\)"),
    ],
)
def test_images_of_ones_own_are_checked(arrays: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        images_of(*arrays)


def test_images_of_ones_own_are_split_and_have_a_checksum() -> None:
    data = images_of(IMAGES, LABELS.astype(np.uint8))
    np.testing.assert_array_equal(data.validation.labels, LABELS[5:])
    assert not any(array.flags.writeable for array in (*data.train.arrays, *data.test.arrays))
    assert data.train.labels.dtype == np.int64
    assert data.sha256 == images_of(IMAGES, LABELS.astype(np.uint8)).sha256
    assert data.sha256 != images_of(IMAGES + 1, LABELS.astype(np.uint8)).sha256


def test_a_table_of_ones_own_is_split_and_has_a_checksum() -> None:
    rows = np.arange(20).reshape(10, 2)
    data = table_of(rows, np.arange(10.0))
    assert data.train.features.dtype == data.train.target.dtype == np.float32
    np.testing.assert_array_equal(data.validation.features, rows[5:])
    assert not any(array.flags.writeable for array in (*data.train.arrays, *data.test.arrays))
    assert data.columns == ("a", "b")
    assert data.sha256 == table_of(rows, np.arange(10)).sha256
    assert data.sha256 != table_of(rows, np.ones(10)).sha256


def test_frames_and_lists_are_arrays_too() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": [5, 6, 7, 8]})
    data = table_of(frame, frame["b"])
    assert data.sha256 == table_of(frame.to_numpy().tolist(), frame["b"].tolist()).sha256
    np.testing.assert_array_equal(data.validation.target, [7, 8])


@pytest.mark.parametrize(
    ("features", "target", "columns", "message"),
    [
        (np.ones((4, 1)), np.ones(4), "ab", r"\(N, 2\), a column for each of a, b.*\(4, 1\)"),
        (np.ones((4, 2)), np.ones((4, 1)), "ab", r"the target \(N,\), .* Received: .* \(4, 1\)"),
        (np.ones((3, 2)), np.ones(4), "ab", r"Received: \(3, 2\) and \(4,\)"),
        (np.ones((4, 2)), np.float64(1), "ab", r"Received: \(4, 2\) and \(\)"),
        ([[1, 2], [3, 4]], [1, 2, 3], "ab", r"Received: \(2, 2\) and \(3,\)"),
        (np.ones((0, 2)), np.ones(0), "ab", r"N >= 1\. Received: \(0, 2\) and \(0,\)"),
        (np.ones((4, 2)), np.ones(4), "aa", "each column needs its own name"),
        (np.full((4, 2), np.nan), np.ones(4), "ab", "finite numbers"),
        (np.full((4, 2), 1e39), np.ones(4), "ab", "finite numbers"),
    ],
)
def test_a_table_of_ones_own_is_checked(
    features: Any, target: Any, columns: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        table_of(features, target, columns)
