"""The epoch loop, run by a learner of a few lines whose validation scores are written down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trackml.history import History, Metric, NonFiniteLoss
from trackml.params import TrainingParams
from trackml.training.loop import Rate, by_split, run_epochs
from trackml.training.schedules import cosine


@dataclass
class Scripted:
    """Its only weight is the number of epochs trained; it errs as `errors` says."""

    errors: Sequence[float]
    metric: Metric = "mae"
    samples: int = 6
    precision: str = "float32"
    device: str = "cpu"
    spoil: float | None = None  # what the weight becomes in the second epoch
    epoch: int = 0
    weight: float = 0.0
    rates: list[float] = field(default_factory=list)
    draws: list[float] = field(default_factory=list)

    def train_epoch(self, rate: Rate, random: np.random.Generator) -> Mapping[str, float]:
        self.epoch += 1
        self.rates += [rate(0.0), rate(0.5)]
        self.weight = float(self.epoch)
        if self.spoil is not None and self.epoch == 2:
            self.weight = self.spoil
        self.draws.append(random.random())
        return {"loss": 0.5, "mae": 0.25}

    def validate(self) -> Mapping[str, float]:
        error = self.errors[self.epoch - 1]
        return {"loss": error**2, "mae": abs(error)}

    def get_weights(self) -> list[NDArray[Any]]:
        return [np.array([self.weight])]

    def set_weights(self, weights: Sequence[NDArray[Any]]) -> None:
        self.weight = float(weights[0][0])

    def get_state(self) -> Mapping[str, NDArray[Any]]:
        return {"weight": np.array([self.weight])}

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.weight = float(state["weight"][0])


def run(learner: Scripted, seed: int = 0, **options: Any) -> History:
    params = TrainingParams.parse(
        {"epochs": len(learner.errors), "batch_size": 1, "learning_rate": 0.1, "seed": seed}
    )
    return run_epochs(learner, params, **options)


def test_a_row_has_the_names_of_the_contract() -> None:
    history = run(Scripted([2.0]))
    row = dict(history.rows[0])
    assert row.pop("epoch_seconds") > 0
    assert row.pop("samples_per_second") > 0
    assert row == {
        "train_loss": 0.5,
        "val_loss": 4.0,
        "train_mae": 0.25,
        "val_mae": 2.0,
        "learning_rate": 0.1,
    }


def test_the_weights_of_the_best_epoch_are_left_in_the_learner() -> None:
    learner = Scripted([3, 1, 2, 4])
    assert run(learner).best_epoch == 2
    assert learner.weight == 2


@pytest.mark.parametrize(
    ("errors", "patience", "epochs"),
    [
        ([3, 2, 1, 1, 1, 1], 0, 6),
        ([3, 2, 1, 1, 1, 1], 2, 5),
        ([3, 4, 2, 3, 1, 2], 2, 6),
        ([3, 4, 2, 3, 1, 2], 1, 2),
        ([1, 2, 2, 2], 3, 4),
    ],
)
def test_patience_counts_the_epochs_since_the_best(
    errors: list[float], patience: int, epochs: int
) -> None:
    assert len(run(Scripted(errors), patience=patience).rows) == epochs


def test_the_schedule_multiplies_the_rate_that_was_asked_for() -> None:
    learner = Scripted([1.0] * 4)
    history = run(learner, schedule=cosine)
    expected = [0.05 * (1 + np.cos(np.pi * done / 8)) for done in range(8)]
    assert learner.rates == pytest.approx(expected)
    assert [row["learning_rate"] for row in history.rows] == learner.rates[::2]


def test_a_schedule_sees_the_epochs_so_far() -> None:
    seen: list[tuple[float, int]] = []

    def watch(done: float, history: History) -> float:
        seen.append((done, len(history.rows)))
        return 1.0

    run(Scripted([1.0] * 4), schedule=watch)
    assert sorted(set(seen)) == [(done / 8, done // 2) for done in range(8)]


def test_the_randomness_of_an_epoch_follows_from_the_seed_and_its_number() -> None:
    first, again, other, longer = (Scripted([1.0] * n) for n in (3, 3, 3, 5))
    for learner, seed in ((first, 1), (again, 1), (other, 2), (longer, 1)):
        run(learner, seed=seed)
    assert first.draws == again.draws == longer.draws[:3]
    assert len({*first.draws, *other.draws}) == 6


def test_hooks_are_called_after_each_epoch_and_none_is_skipped() -> None:
    seen: list[tuple[int, float]] = []
    run(Scripted([3, 2]), hooks=[None, lambda epoch, row: seen.append((epoch, row["val_mae"]))])
    assert seen == [(1, 3), (2, 2)]


def test_a_loss_that_is_not_a_number_stops_before_the_hooks() -> None:
    seen: list[int] = []
    with pytest.raises(NonFiniteLoss, match="val_loss is nan in epoch 2"):
        run(Scripted([1, np.nan, 1]), hooks=[lambda epoch, row: seen.append(epoch)])
    assert seen == [1]


@pytest.mark.parametrize("weight", [1e20, -1e20, np.inf, np.nan])
def test_a_weight_that_leaves_the_numbers_stops_it_whatever_the_loss(weight: float) -> None:
    seen: list[int] = []
    with pytest.raises(NonFiniteLoss, match="weights are nan, or overflow, in epoch 2"):
        run(Scripted([3, 2, 1], spoil=weight), hooks=[lambda epoch, row: seen.append(epoch)])
    assert seen == [1]


def test_scores_before_training_are_epoch_0_and_no_candidate() -> None:
    seen: list[int] = []
    initial = by_split({"loss": 0.0, "mae": 0.0}, {"loss": 0.0, "mae": 0.0})
    learner = Scripted([2.0, 1.0])
    history = run(learner, initial=initial, hooks=[None, lambda epoch, _row: seen.append(epoch)])
    assert seen == [0, 1, 2]
    assert history.initial == initial
    assert (history.best_epoch, learner.weight) == (2, 2.0)


def test_without_them_the_hooks_begin_with_epoch_1() -> None:
    seen: list[int] = []
    history = run(Scripted([2.0, 1.0]), hooks=[lambda epoch, _row: seen.append(epoch)])
    assert (seen, history.initial) == ([1, 2], {})


@pytest.mark.parametrize(("target", "epochs"), [(0.51, 1), (0.5, 3), (0.0, 3)])
def test_a_training_loss_below_its_target_ends_training(target: float, epochs: int) -> None:
    history = run(Scripted([3.0, 2.0, 1.0]), target_loss=target)  # its loss is 0.5
    assert len(history.rows) == epochs
    assert ("0.5 is below 0.51 (--target_loss)" in history.stopped) is (epochs == 1)


def test_a_history_says_why_it_ended_early() -> None:
    assert run(Scripted([1.0, 2.0, 3.0, 4.0]), patience=2).stopped.startswith("none better since")
    assert run(Scripted([1.0, 2.0, 3.0]), patience=2).stopped == ""  # it was the last one
