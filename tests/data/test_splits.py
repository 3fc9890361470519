"""Which rows are in which split."""

from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, strategies as st
from numpy.typing import NDArray

from trackml.data import TableData
from trackml.data.splits import hold_out
from trackml.errors import UsageError

SHARE = st.floats(0.05, 0.6)
COUNTS = st.lists(st.integers(3, 30), min_size=2, max_size=5)  # rows of each class


def table(labels: Any, test: float = 0.2, rows: Any = None, **options: Any) -> TableData:
    """A table whose column is the number of each row, as it is before they are reordered."""
    numbers, labels = np.arange(len(labels)), np.asarray(labels)
    part = numbers[:, np.newaxis], labels
    if rows is not None:
        part = numbers[rows, np.newaxis], labels[rows]
    classes = "abcde"[: labels.max() + 1]
    return TableData.from_arrays("own", part, test, columns="n", classes=classes, **options)


def splits(data: TableData) -> list[NDArray[Any]]:
    """The numbers of the rows in each split."""
    return [each.features[:, 0].astype(int) for each in (data.train, data.validation, data.test)]


@example([3, 3], 0.5, 0.5, 0, Random(0))
@given(COUNTS, SHARE, SHARE, st.integers(0), st.randoms(use_true_random=False))
def test_each_row_is_in_one_split_and_each_class_in_all_of_them_whatever_the_order(
    counts: list[int], test: float, validation: float, seed: int, random: Any
) -> None:
    labels = np.repeat(range(len(counts)), counts)
    options: Any = {"validation_split": validation, "split_seed": seed}
    try:
        data = table(labels, test, **options)
    except UsageError as error:
        assert "both need at least 1" in str(error)  # noqa: PT017
        return
    assert sorted(np.concatenate(splits(data))) == list(range(len(labels)))
    for label, count in enumerate(counts):
        train, validated, tested = (int((labels[rows] == label).sum()) for rows in splits(data))
        assert abs(tested - count * test) <= 1
        assert abs(validated - (count - tested) * validation) <= 1
        assert min(train, validated, tested) >= 1
    rows = random.sample(range(len(labels)), len(labels))
    again = table(labels, test, rows, **options)
    assert again.sha256 == data.sha256
    for before, after in zip(splits(data), splits(again), strict=True):
        np.testing.assert_array_equal(before, after)


def test_another_seed_is_another_split_and_another_checksum() -> None:
    labels = np.arange(60) % 3
    one, other = table(labels), table(labels, split_seed=1)
    assert set(splits(one)[2]) != set(splits(other)[2])
    assert one.sha256 != other.sha256
    half, few = table(labels, validation_split=0.5), table(labels, limit=5)
    assert one.sha256 == half.sha256 == few.sha256
    assert [len(rows) for rows in splits(few)] == [5, *(len(rows) for rows in splits(one)[1:])]


def test_rows_with_equal_content_are_not_kept_together() -> None:
    part = np.repeat([[0.0], [1.0]], 500, axis=0), np.repeat([0.0, 1.0], 500)
    data = TableData.from_arrays("twins", part, columns="n")
    assert 0.4 < data.test.target.mean() < 0.6


@pytest.mark.parametrize("test", [0.25, 0.5])
def test_where_order_matters_the_last_rows_are_held_out(test: float) -> None:
    data = table(np.arange(40) % 2, test, keep_order=True, validation_split=0.2)
    np.testing.assert_array_equal(np.concatenate(splits(data)), np.arange(40))
    assert len(data.test) == 40 * test


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([0] * 9 + [1] * 2, {}, "the training split lacks class 'b' .rows in all: 2."),
        ([0] * 9 + [1], {}, "the training split lacks class 'b' .rows in all: 1."),
        ([0] * 9 + [3] * 9, {}, "training split lacks class 'b' and 1 more .rows in all: 0."),
        (
            [0] * 9 + [1] * 9,
            {"keep_order": True},
            "validation split lacks class 'a' .rows in all: 9.",
        ),
        ([1] * 5 + [0, 1] * 5, {"keep_order": True, "limit": 5, "validation_split": 0.3}, ""),
    ],
)
def test_a_split_without_a_class_is_refused_but_a_trial_may_train_without_one(
    labels: list[int], options: dict[str, Any], message: str
) -> None:
    if not message:
        assert set(table(labels, **options).train.target) == {1}
        return
    with pytest.raises(UsageError, match=message):
        table(labels, **options)


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_splits_are_disjoint_and_complete(rows: int, share: float) -> None:
    try:
        kept, held_out = hold_out(np.empty(rows, bool), share, "--validation_split")
    except UsageError:
        assert round(rows * share) in {0, rows}
        return
    assert isinstance(kept, slice)
    assert isinstance(held_out, slice)
    assert 0 < kept.stop == held_out.start < held_out.stop == rows


@pytest.mark.parametrize("test", [0, 1, -0.1, 1.5])
def test_a_share_is_between_0_and_1(test: float) -> None:
    with pytest.raises(ValueError, match=r"test must be .* fraction .* Received: "):
        table(np.arange(40) % 2, test)


def test_test_rows_that_are_training_rows_too_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    features = np.repeat(np.arange(100.0), 2)[:, np.newaxis]
    data = TableData.from_arrays("twins", (features, features[:, 0]), columns=["x"])
    train = set(data.train.features.ravel().tolist())
    count = sum(x in train for x in data.test.features.ravel().tolist())
    assert f"warning: {count} of 40 test rows are also training rows" in caplog.text
