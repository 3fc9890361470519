"""The epoch loop of all frameworks: schedule, validation, best weights, early stop, hooks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from trackml.evaluation.metrics import score_classes, score_values
from trackml.history import EpochHook, History, Metric, NonFiniteLoss
from trackml.params import Params
from trackml.training.schedules import Schedule, constant

Array = NDArray[Any]

Loss = Literal["cross_entropy", "squared_error"]

Rate = Callable[[float], float]
"""Share of an epoch that is done, 0 to below 1 → learning rate."""

LARGEST_WEIGHT = 1e19  # the square of a larger one overflows float32


class Split(Protocol):
    """Anything with a pair of arrays."""

    @property
    def arrays(self) -> tuple[Array, Array]:
        """Inputs (N, ...) and targets (N,)."""


class Splits(Protocol):
    """Anything with a training and a validation split."""

    @property
    def train(self) -> Split: ...

    @property
    def validation(self) -> Split: ...


@dataclass(frozen=True)
class Objective:
    """What training is for.

    Attributes:
        loss: what the optimiser minimises.
        metric: what is counted beside it, and ranks epochs.
        score: (predictions (N, outputs), targets (N,)) → {"loss": ..., metric: ...}, by which the
            validation data are scored.
    """

    loss: Loss
    metric: Metric
    score: Callable[[Array, Array], Mapping[str, float]]


CLASSIFICATION = Objective("cross_entropy", "accuracy", score_classes)
REGRESSION = Objective("squared_error", "mae", score_values)


class Learner(Protocol):
    """A model in training: what a framework implements to be run by `run_epochs`."""

    @property
    def precision(self) -> str:
        """The arithmetic of the training steps."""

    @property
    def device(self) -> str:
        """Where they are computed: "cpu" or "cuda"."""

    def train_epoch(self, rate: Rate, random: np.random.Generator) -> Mapping[str, float]:
        """Train on all rows once; return "loss" and the metric, means over samples.

        Args:
            rate: asked before each step, or as often as is cheap.
            random: where all randomness of this epoch comes from.
        """

    def predict(self, inputs: Array) -> Array:
        """What the model, as it will be kept, answers to inputs (N, ...): (N, outputs)."""

    def get_weights(self) -> list[Array]:
        """A copy of all weights of the model that will be kept, trainable or not."""

    def set_weights(self, weights: list[Array]) -> None:
        """Put back what `get_weights` gave."""


def run_epochs(
    learner: Learner,
    data: Splits,
    params: Params,
    objective: Objective,
    *,
    schedule: Schedule = constant,
    patience: int = 0,
    hooks: Sequence[EpochHook | None] = (),
) -> History:
    """Train for `params.epochs`, and leave in the learner the weights of its best epoch.

    Args:
        schedule: what `params.learning_rate` is multiplied by.
        patience: stop after that many epochs without a better one; 0 never stops early.
        hooks: called after each epoch; None is skipped.

    Raises:
        NonFiniteLoss: the loss, or a weight, left the numbers. The hooks have not seen that epoch.
    """
    inputs, targets = data.validation.arrays
    samples = len(data.train.arrays[1])
    history = History(objective.metric, learner.precision, learner.device)
    best_weights: list[Array] = []
    for epoch in range(1, params.epochs + 1):
        started = perf_counter()
        rate = partial(_rate, params, schedule, history)
        # All randomness of an epoch follows from (seed, epoch), whatever happened before it.
        train = learner.train_epoch(rate, np.random.default_rng((params.seed, epoch)))
        trained = perf_counter()
        val = objective.score(learner.predict(inputs), targets)
        row = {
            "train_loss": train["loss"],
            "val_loss": val["loss"],
            f"train_{objective.metric}": train[objective.metric],
            f"val_{objective.metric}": val[objective.metric],
            "learning_rate": rate(0.0),
            "epoch_seconds": perf_counter() - started,
            "samples_per_second": samples / (trained - started),
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
        for hook in filter(None, hooks):
            hook(epoch, row)
        if patience and epoch - history.best_epoch >= patience:
            break
    learner.set_weights(best_weights)
    return history


def _rate(params: Params, schedule: Schedule, history: History, epoch_done: float) -> float:
    """The learning rate in the epoch that follows on `history`, of which a share is done."""
    done = (len(history.rows) + epoch_done) / params.epochs
    return params.learning_rate * schedule(done, history)
