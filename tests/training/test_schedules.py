import math

import pytest
import torch
from hypothesis import given, strategies as st

from trackml.history import History
from trackml.metrics import ACCURACY
from trackml.training.schedules import SCHEDULES, cosine, one_cycle, plateau


def after(*losses: float) -> History:
    rows = tuple({"val_loss": loss} for loss in losses)
    return History(ACCURACY, "float32", rows=rows)


def test_constant_stays_at_one() -> None:
    assert [SCHEDULES["constant"](done, after(1.0)) for done in (0, 0.5, 0.99)] == [1, 1, 1]


def test_cosine_falls_from_one_towards_zero() -> None:
    factors = [cosine(epoch / 10, after()) for epoch in range(10)]
    assert factors[0] == 1
    assert factors[5] == pytest.approx(0.5)
    assert factors == sorted(factors, reverse=True)
    assert 0 < factors[-1] < 0.03


def test_one_cycle_is_that_of_pytorch_except_that_it_ends_at_zero() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=101, cycle_momentum=False, final_div_factor=1e12
    )
    for step in range(100):
        # Theirs is at the peak one step before 30 % of all steps are done.
        is_warm_up = step <= 29.3
        done = 0.3 * step / 29.3 if is_warm_up else 0.3 + 0.7 * (step - 29.3) / (100 - 29.3)
        assert one_cycle(done, after()) == pytest.approx(theirs.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        theirs.step()


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
    assert plateau(0.5, after(*losses)) == factor


@given(st.lists(st.floats(0.01, 10), max_size=30))
def test_plateau_never_rises_and_halves_at_most_every_other_epoch(losses: list[float]) -> None:
    factors = [plateau(0.5, after(*losses[:count])) for count in range(len(losses) + 1)]
    assert factors == sorted(factors, reverse=True)
    assert all(math.log2(factor).is_integer() for factor in factors)
    assert factors[-1] >= 0.5 ** (len(losses) // 2)
