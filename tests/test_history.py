import math

import pytest
from hypothesis import given, strategies as st

from trackml.history import History, NonFiniteLoss
from trackml.metrics import ACCURACY, MAE, Metric


def history(metric: Metric, *scores: tuple[float, float]) -> History:
    """A history from (validation metric, validation loss) of each epoch."""
    made = History(metric, "float32")
    for score, loss in scores:
        made = made.extended({"train_loss": 1.0, "val_loss": loss, f"val_{metric}": score})
    return made


def test_the_best_epoch_has_the_highest_accuracy_or_the_lowest_error() -> None:
    scores = [(0.3, 1.0), (0.9, 1.0), (0.1, 1.0)]
    assert history(ACCURACY, *scores).best_epoch == 2
    assert history(MAE, *scores).best_epoch == 3


def test_among_equals_the_lowest_loss_wins_and_then_the_first() -> None:
    assert history(ACCURACY, (0.9, 0.5), (0.9, 0.4), (0.9, 0.4)).best_epoch == 2


def test_the_summary_is_that_of_the_best_epoch_whose_weights_are_kept() -> None:
    assert history(ACCURACY, (0.8, 0.2), (0.9, 0.3)).summary == {
        "best_epoch": 2,
        "best_val_loss": 0.3,
        "best_val_accuracy": 0.9,
        "convergence_epoch": 2,
    }
    assert "convergence_epoch" not in history(MAE, (0.8, 0.2)).summary


def test_a_metric_of_ones_own_may_be_nan_which_is_never_the_best() -> None:
    top3 = Metric("top3", higher_is_better=True)
    made = history(top3, (math.nan, 0.1), (0.2, 0.9), (math.nan, 0.1))
    assert (made.best_epoch, made.summary["best_val_top3"]) == (2, 0.2)


@pytest.mark.parametrize(
    ("accuracies", "epoch"),
    [
        ([0.9], 1),
        ([0.95, 0.9889, 0.989, 0.9885, 0.99], 3),  # exactly 0.1 percentage points away
        ([0.99, 0.98, 0.9905], 1),
        ([0.5, 0.9, 0.8], 2),
    ],
)
def test_convergence_is_the_first_epoch_within_a_tenth_of_a_point_of_the_best(
    accuracies: list[float], epoch: int
) -> None:
    made = history(ACCURACY, *((accuracy, 1.0) for accuracy in accuracies))
    assert made.summary["convergence_epoch"] == epoch


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 10)), min_size=1))
def test_no_epoch_beats_the_best(scores: list[tuple[float, float]]) -> None:
    best = history(ACCURACY, *scores).best_epoch - 1
    assert scores[best][0] == max(score for score, _ in scores)
    assert all(loss >= scores[best][1] for score, loss in scores if score == scores[best][0])


@pytest.mark.parametrize("name", ["train_loss", "val_loss"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_refused_with_its_epoch(name: str, value: float) -> None:
    rows = history(ACCURACY, (0.5, 1.0), (0.6, 0.9))
    row = {"train_loss": 1.0, "val_loss": 1.0, "val_accuracy": 0.1, name: value}
    with pytest.raises(NonFiniteLoss, match=f"{name} is {value} in epoch 3"):
        rows.extended(row)
