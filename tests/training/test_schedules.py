import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackml.history import History
from trackml.training.schedules import constant, cosine, plateau

LOSSES = st.lists(st.floats(0.01, 10), max_size=30)


def after(losses: list[float]) -> History:
    history = History("accuracy", "float32")
    for loss in losses:
        row = {"train_loss": 1.0, "val_loss": loss, "train_accuracy": 0.5, "val_accuracy": 0.5}
        history = history.extended(row)
    return history


def test_constant_stays() -> None:
    assert [constant(done, after([1.0])) for done in (0, 0.5, 0.99)] == [1, 1, 1]


def test_cosine_falls_from_one_towards_zero() -> None:
    factors = [cosine(epoch / 10, after([])) for epoch in range(10)]
    assert factors[0] == 1
    assert factors[5] == pytest.approx(0.5)
    assert factors == sorted(factors, reverse=True)
    assert 0 < factors[-1] < 0.03


@pytest.mark.parametrize(
    ("losses", "factor"),
    [
        ([], 1),
        ([1, 0.9, 0.8], 1),
        ([1, 1.1], 1),
        ([1, 1.1, 1.2], 0.5),
        ([1, 1.0, 1.0], 0.5),
        ([1, 1.1, 0.9, 1.0], 1),
        ([1, 1.1, 1.2, 1.3, 1.4], 0.25),
        ([1, 1.1, 1.2, 0.9, 1.0, 1.0], 0.25),
    ],
)
def test_plateau_halves_after_two_epochs_that_are_not_better(
    losses: list[float], factor: float
) -> None:
    assert plateau(0.5, after(losses)) == factor


@given(LOSSES)
def test_plateau_never_rises_and_halves_at_most_every_other_epoch(losses: list[float]) -> None:
    factors = [plateau(0.5, after(losses[:count])) for count in range(len(losses) + 1)]
    assert factors == sorted(factors, reverse=True)
    assert all(math.log2(factor).is_integer() for factor in factors)
    assert factors[-1] >= 0.5 ** (len(losses) // 2)
