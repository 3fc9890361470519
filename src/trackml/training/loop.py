"""The epoch loop of all frameworks: schedule, validation, best weights, early stop, hooks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trackml.history import EpochHook, History, Metric, NonFiniteLoss
from trackml.params import TrainingParams
from trackml.signals import at_next_call
from trackml.training.checkpoint import Checkpoint, take_keeper
from trackml.training.schedules import Schedule, constant

Array = NDArray[Any]

Rate = Callable[[float], float]
"""Share of an epoch that is done, 0 to below 1 → learning rate."""

LARGEST_WEIGHT = 1e19  # the square of a larger one overflows float32


class Learner(Protocol):
    """A model in training: what a framework implements to be run by `run_epochs`."""

    @property
    def metric(self) -> Metric:
        """What ranks epochs, beside the loss."""

    @property
    def samples(self) -> int:
        """How many rows an epoch trains on."""

    @property
    def precision(self) -> str:
        """The arithmetic of the training steps."""

    @property
    def device(self) -> str:
        """Where they are computed: "cpu" or "cuda"."""

    def train_epoch(self, rate: Rate, random: np.random.Generator) -> Mapping[str, float]:
        """Train on all rows once; return "loss" and other scores, means over samples.

        Args:
            rate: asked before each step, or as often as is cheap.
            random: where all randomness of this epoch comes from.
        """

    def validate(self) -> Mapping[str, float]:
        """Score the model, as it will be kept, on the validation data: "loss", the metric, ..."""

    def get_weights(self) -> list[Array]:
        """A copy of all weights of the model that will be kept, trainable or not."""

    def set_weights(self, weights: Sequence[Array]) -> None:
        """Put back what `get_weights` gave."""

    def get_state(self) -> Mapping[str, Array]:
        """A copy of all that the next epoch depends on: weights, and what the optimiser knows."""

    def set_state(self, state: Mapping[str, Array]) -> None:
        """Put back what `get_state` gave."""


def run_epochs(
    learner: Learner,
    params: TrainingParams,
    *,
    schedule: Schedule = constant,
    initial: Mapping[str, float] | None = None,
    patience: int = 0,
    target_loss: float = 0.0,
    hooks: Sequence[EpochHook | None] = (),
) -> History:
    """Train for `params.epochs`, and leave in the learner the weights of its best epoch.

    Where a `Keeper` is at hand, each epoch is saved there before the hooks know of it, and training
    goes on from what was saved. The hooks do not get those epochs again.

    Args:
        schedule: what `params.learning_rate` is multiplied by.
        initial: scores before training, as `by_split` names them, which the hooks get as epoch 0.
        patience: stop after that many epochs without a better one; 0 never stops early.
        target_loss: stop after an epoch whose training loss is below it; 0 never does.
        hooks: as EpochHook says; None is skipped.

    Raises:
        NonFiniteLoss: the loss, or a weight, left the numbers. The hooks have not seen that epoch.
    """
    history = History(learner.metric, learner.precision, learner.device, initial=initial or {})
    called = [hook for hook in hooks if hook]
    best_weights: Sequence[Array] = []
    keeper = take_keeper()

    def save() -> None:
        if keeper:
            state = learner.get_state()
            keeper.save(Checkpoint(state, best_weights, history.rows, history.initial))

    if keeper and (saved := keeper.load()):
        learner.set_state(saved.state)
        best_weights = saved.best_weights
        history = replace(history, rows=tuple(saved.rows), initial=saved.initial)
    elif initial:
        save()
        for hook in called:
            hook(0, initial)
    while len(history.rows) < params.epochs:
        if history.rows and (reason := _reason_to_stop(history, patience, target_loss)):
            history = replace(history, stopped=reason)
            break
        epoch = len(history.rows) + 1
        started = perf_counter()
        rate = partial(_rate, params, schedule, history)
        # All randomness of an epoch follows from (seed, epoch), whatever happened before it.
        random = np.random.default_rng((params.seed, epoch))
        with at_next_call() as stop_if_asked:
            train = learner.train_epoch(_between_batches(stop_if_asked, rate), random)
        trained = perf_counter()
        val = learner.validate()
        row = by_split(train, val) | {
            "learning_rate": rate(0.0),
            "epoch_seconds": perf_counter() - started,
            "samples_per_second": learner.samples / (trained - started),
        }
        history = history.extended(row)
        weights = learner.get_weights()
        if not all((np.abs(weight) < LARGEST_WEIGHT).all() for weight in weights):
            # Some ReLU kernels turn nan into 0: the loss alone would not show it.
            raise NonFiniteLoss(
                f"weights are nan, or overflow, in epoch {epoch}: training stopped; "
                "try a smaller --learning_rate"
            )
        if history.best_epoch == epoch:
            best_weights = weights
        save()
        for hook in called:
            hook(epoch, row)
    learner.set_weights(best_weights)
    return history


def by_split(train: Mapping[str, float], val: Mapping[str, float]) -> dict[str, float]:
    """Scores under the names of the contract: train_loss, val_loss, train_accuracy, ..."""
    return {
        f"{split}_{name}": scores[name]
        for name in dict.fromkeys((*train, *val))
        for split, scores in (("train", train), ("val", val))
        if name in scores
    }


def _reason_to_stop(history: History, patience: int, target_loss: float) -> str:
    """Why training is to end after the last epoch; "" if it is not."""
    loss = history.rows[-1]["train_loss"]
    if loss < target_loss:
        return f"its training loss of {loss:g} is below {target_loss:g} (--target_loss)"
    if patience and len(history.rows) - history.best_epoch >= patience:
        return f"none better since epoch {history.best_epoch} (--patience)"
    return ""


def _between_batches(call: Callable[[], None], rate: Rate) -> Rate:
    """The same rate; `call` is called each time that it is asked for."""

    def called(epoch_done: float) -> float:
        call()
        return rate(epoch_done)

    return called


def _rate(params: TrainingParams, schedule: Schedule, history: History, epoch_done: float) -> float:
    """The learning rate in the epoch that follows on `history`, of which a share is done."""
    done = (len(history.rows) + epoch_done) / params.epochs
    return params.learning_rate * schedule(done, history)
