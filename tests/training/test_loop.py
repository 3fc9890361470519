"""The epoch loop, with a learner whose validation errors are given."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from tests.training.recorder import Recorder
from trackml.history import History, NonFiniteLoss
from trackml.metrics import MAE
from trackml.params import TrainingParams
from trackml.training.checkpoint import Array
from trackml.training.loop import Learner, Rate, by_split, run_epochs
from trackml.training.schedules import cosine


class Scripted(Learner):
    """Its only weight is the number of epochs trained, or `spoiled` after the second."""

    model, metric, samples, precision, device = "the model", MAE, 6, "float32", "cpu"

    def __init__(self, *errors: float, spoiled: float | None = None) -> None:
        self.errors, self.spoiled = errors, spoiled
        self.epoch, self.weight = 0, 0.0
        self.rates: list[float] = []
        self.draws: list[float] = []

    def train_epoch(self, rate: Rate, random: np.random.Generator) -> Mapping[str, float]:
        self.epoch += 1
        self.rates += [rate(0.0), rate(0.5)]
        is_spoiled = self.spoiled is not None and self.epoch == 2
        self.weight = self.spoiled if is_spoiled else self.epoch  # type: ignore[assignment]
        self.draws.append(random.random())
        return {"loss": 0.5, "mae": 0.25}

    def validate(self) -> Mapping[str, float]:
        error = self.errors[self.epoch - 1]
        return {"loss": error**2, "mae": abs(error)}

    def get_weights(self) -> list[Array]:
        return [np.array([self.weight])]

    def set_weights(self, weights: Sequence[Array]) -> None:
        self.weight = float(weights[0][0])

    def get_state(self) -> Mapping[str, Array]:
        return {"weight": np.array([self.weight])}

    def set_state(self, state: Mapping[str, Array]) -> None:
        self.weight = float(state["weight"][0])


def train(learner: Scripted, seed: int = 0, **options: Any) -> History:
    values = {"epochs": len(learner.errors), "batch_size": 1, "learning_rate": 0.1, "seed": seed}
    return run_epochs(learner, TrainingParams.parse(values), **options)


def test_a_row_has_the_names_of_the_contract() -> None:
    row = dict(train(Scripted(2)).rows[0])
    assert row.pop("epoch_seconds") > 0
    assert row.pop("samples_per_second") > 0
    expected = {"train_loss": 0.5, "val_loss": 4, "train_mae": 0.25, "val_mae": 2}
    assert row == expected | {"learning_rate": 0.1}


def test_the_weights_of_the_best_epoch_are_left_in_the_learner() -> None:
    learner = Scripted(3, 1, 2, 4)
    assert train(learner).best_epoch == learner.weight == 2


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
    history = train(Scripted(*errors), patience=patience)
    assert len(history.rows) == epochs
    assert history.stopped.startswith("none better since") is (epochs < len(errors))


@pytest.mark.parametrize(("target", "epochs"), [(0.51, 1), (0.5, 3), (0.0, 3)])
def test_a_training_loss_below_its_target_stops_training(target: float, epochs: int) -> None:
    history = train(Scripted(3, 2, 1), target_loss=target)  # its loss is 0.5
    assert len(history.rows) == epochs
    assert ("0.5 is below 0.51 (--target_loss)" in history.stopped) is (epochs == 1)


@pytest.mark.parametrize(("epochs", "stopped"), [(4, "enough"), (2, "")])
def test_a_reason_from_the_run_stops_training_unless_it_was_the_last_epoch(
    epochs: int, stopped: str
) -> None:
    run = Recorder(callback=lambda epoch, _metrics: "enough" if epoch == 2 else None)
    history = train(Scripted(*[1.0] * epochs), run=run, patience=3)
    assert run.epochs == [1, 2]
    assert (len(history.rows), history.stopped) == (2, stopped)


def test_the_schedule_multiplies_the_learning_rate() -> None:
    learner = Scripted(1, 1, 1, 1)
    history = train(learner, schedule=cosine)
    expected = [0.05 * (1 + np.cos(np.pi * done / 8)) for done in range(8)]
    assert learner.rates == pytest.approx(expected)
    assert [row["learning_rate"] for row in history.rows] == learner.rates[::2]


def test_a_schedule_gets_the_history_so_far() -> None:
    calls: list[tuple[float, int]] = []

    def schedule(done: float, history: History) -> float:
        calls.append((done, len(history.rows)))
        return 1.0

    train(Scripted(1, 1, 1, 1), schedule=schedule)
    assert sorted(set(calls)) == [(done / 8, done // 2) for done in range(8)]


def test_the_randomness_of_an_epoch_depends_only_on_the_seed_and_its_number() -> None:
    first, again, other, longer = (Scripted(*[1] * epochs) for epochs in (3, 3, 3, 5))
    for learner, seed in ((first, 1), (again, 1), (other, 2), (longer, 1)):
        train(learner, seed=seed)
    assert first.draws == again.draws == longer.draws[:3]
    assert len({*first.draws, *other.draws}) == 6


def test_each_epoch_is_reported_once_with_a_checkpoint_that_ends_with_it() -> None:
    run = Recorder()
    history = train(Scripted(3, 1, 2), run=run)
    assert run.epochs == [1, 2, 3]
    assert tuple(run.metrics) == history.rows
    for epoch, best, checkpoint in zip(run.epochs, [1, 2, 2], run.checkpoints, strict=True):
        assert checkpoint.rows == history.rows[:epoch]
        assert checkpoint.state["weight"] == epoch
        assert checkpoint.best_weights[0] == best


@pytest.mark.parametrize(
    ("learner", "message"),
    [
        (Scripted(1, np.nan, 1), "val_loss is nan in epoch 2"),
        *(
            (Scripted(3, 2, 1, spoiled=weight), "weights are nan or overflow in epoch 2")
            for weight in (1e20, -1e20, np.inf, np.nan)
        ),
    ],
)
def test_an_epoch_with_a_nan_loss_or_weight_stops_training_and_is_not_reported(
    learner: Scripted, message: str
) -> None:
    run = Recorder()
    with pytest.raises(NonFiniteLoss, match=message):
        train(learner, run=run)
    assert run.epochs == [1]


def test_metrics_before_training_are_epoch_0_which_is_not_the_best_and_cannot_be_the_last() -> None:
    run = Recorder(callback=lambda epoch, _metrics: "enough" if epoch == 0 else None)
    initial = by_split({"loss": 0.0, "mae": 0.0}, {"loss": 0.0, "mae": 0.0})
    learner = Scripted(2, 1)
    history = train(learner, initial=initial, run=run)
    assert run.epochs == [0, 1, 2]
    assert run.metrics[0] == run.checkpoints[0].initial == history.initial == initial
    assert history.best_epoch == learner.weight == 2
