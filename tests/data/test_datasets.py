"""The data contract on the real data, and on arrays of a user's own."""

from typing import Any, Literal

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from trackml.data import load
from trackml.data.arrays import arrays_sha256
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


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("mnist", 1e-7, r"--validation_split 1e-07: of 60,000 rows .* holds out 0"),
        ("mnist", 1e-4, "the validation split lacks class '0' and 4 more .rows in all: 6,903."),
        ("cifar", 0.1, "there is no dataset 'cifar'; there are mnist"),
    ],
)
def test_splits_without_rows_or_a_class_and_an_unknown_dataset_are_refused(
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
