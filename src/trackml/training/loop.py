"""The epoch loop of all frameworks: schedule, validation, best weights, early stopping, resume."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any, Protocol, TypedDict, Unpack, cast

import numpy as np

from trackml.history import History, NonFiniteLoss
from trackml.metrics import Metric
from trackml.params import TrainingParams
from trackml.process.signals import stop_at_next_call
from trackml.progress import Progress
from trackml.training.checkpoint import Array, Checkpoint, TakeCheckpoint
from trackml.training.schedules import Schedule, constant

Rate = Callable[[float], float]
"""Completed fraction of the epoch, 0 to below 1 → learning rate."""

MAX_WEIGHT = 1e19  # the square of a larger weight overflows float32


class Split(Protocol):
    """Anything with inputs (N, ...) and targets (N,)."""

    @property
    def arrays(self) -> tuple[Array, Array]: ...


class Splits(Protocol):
    """Anything with a training and a validation split."""

    @property
    def train(self) -> Split: ...

    @property
    def validation(self) -> Split: ...


class Learner(Protocol):
    """A model in training, which each framework implements."""

    model: Any  # that will be kept, for the user's callbacks
    metric: Metric  # ranks epochs
    metrics: tuple[Metric, ...] = ()  # of the user's own
    samples: int  # rows that an epoch trains on
    precision: str  # of the training steps: "float32" or "bfloat16"
    device: str  # of the training steps: "cpu" or "cuda"
    answers: Any = None  # to all validation inputs, when they were last asked for

    def train_epoch(self, rate: Rate, random: np.random.Generator) -> Mapping[str, float]:
        """Train on all rows once; return "loss" and other metrics, means over samples.

        `rate` is called before each step, or as often as is cheap. All randomness is from `random`.
        """

    def scores_so_far(self) -> Mapping[str, float]:
        """Metrics of the epoch that lasts, or of its last step; asked for every few seconds."""
        return {}

    def validate(self) -> Mapping[str, float]:
        """Metrics of the model that will be kept on the validation data: "loss", `metric`, ..."""

    def get_weights(self) -> list[Array]:
        """A copy of all weights of the model that will be kept, trainable or not."""

    def set_weights(self, weights: Sequence[Array]) -> None: ...

    def get_state(self) -> Mapping[str, Array]:
        """A copy of all that the next epoch depends on: the weights and the optimizer's state."""

    def set_state(self, state: Mapping[str, Array]) -> None: ...


class TrainingRun(Protocol):
    """Provides the resume point and receives each epoch: `trackml.tracking.run.Run`."""

    @property
    def progress(self) -> Progress:
        """Shows how far training is."""

    def resume_point(self) -> Checkpoint | None:
        """The checkpoint to continue from; None to start training."""

    def log_epoch(
        self, epoch: int, metrics: Mapping[str, float], checkpoint: TakeCheckpoint
    ) -> str | None:
        """Save a checkpoint if the run is kept, and log the metrics; return a reason to stop."""

    def show_progress(self, epoch: int, epochs: int, answers: Any) -> None:
        """Show what the model answers to validation inputs after an epoch, of so many."""


ModelCallback = Callable[[int, Mapping[str, float], Any], str | None]
"""(epoch, from 1; its metrics; the model) → a reason to stop, if there is one."""


class LoopOptions(TypedDict, total=False):
    """Options of the epoch loop.

    Attributes:
        schedule: factor of `params.learning_rate`; constant unless given.
        patience: stop after so many epochs without a better one; 0 = never.
        target_loss: stop after an epoch whose training loss is below it; 0 = never.
        callbacks: called after each epoch is logged, with the model as it was validated, which they
            must not change. A text that one returns stops training. A run that is killed just then
            has its checkpoint, but not the text: it trains on when it resumes.
        run: provides the resume point and gets each epoch once; it can stop training.
    """

    schedule: Schedule
    patience: int
    target_loss: float
    callbacks: Sequence[ModelCallback]
    run: TrainingRun | None


def run_epochs(
    learner: Learner,
    params: TrainingParams,
    *,
    initial: Mapping[str, float] | None = None,
    **options: Unpack[LoopOptions],
) -> History:
    """Train for `params.epochs`, and leave the weights of the best epoch in the learner.

    Args:
        initial: metrics before training, as `by_split` names them; logged as epoch 0.
        options: those of `LoopOptions`.

    Raises:
        NonFiniteLoss: the loss or a weight is NaN or infinite. That epoch is not logged.
    """
    schedule, run = options.get("schedule", constant), options.get("run")
    history = History(
        learner.metric,
        learner.precision,
        learner.device,
        initial=initial or {},
        metrics=learner.metrics,
    )
    best_weights: Sequence[Array] = []
    reason: str | None = None
    progress = run.progress if run else Progress()
    progress.fact("device", f"{learner.device}, {learner.precision}")

    def checkpoint() -> Checkpoint:
        return Checkpoint(learner.get_state(), best_weights, history.rows, history.initial)

    if run and (saved := run.resume_point()):
        learner.set_state(saved.state)
        best_weights = saved.best_weights
        history = replace(history, rows=tuple(saved.rows), initial=saved.initial)
    elif run and initial:
        # A reason to stop is ignored: there is no best epoch yet.
        run.log_epoch(0, initial, checkpoint)
    for epoch in range(len(history.rows) + 1, params.epochs + 1):
        if reason := reason or _reason_to_stop(history, options):
            history = replace(history, stopped=reason)
            break
        row = _run_epoch(learner, params, schedule, history, progress)
        history = history.extended(row)
        weights = learner.get_weights()
        if not all((np.abs(weight) < MAX_WEIGHT).all() for weight in weights):
            # Some ReLU kernels turn NaN into 0, so the loss can look healthy.
            raise NonFiniteLoss(
                f"weights are nan or overflow in epoch {epoch}: training stopped; "
                "try a smaller --learning_rate"
            )
        if history.best_epoch == epoch:
            best_weights = weights
        if run:  # before its checkpoint: a killed run repeats the epoch, and so the picture
            run.show_progress(epoch, params.epochs, learner.answers)
        reasons = [run.log_epoch(epoch, row, checkpoint) if run else None]
        reasons += [call(epoch, row, learner.model) for call in options.get("callbacks", ())]
        reason = next(filter(None, reasons), None)
    learner.set_weights(best_weights)
    return history


def loop_options(options: LoopOptions) -> LoopOptions:
    """Those among all options of a `fit` that `run_epochs` takes."""
    names = LoopOptions.__optional_keys__
    return cast("LoopOptions", {name: value for name, value in options.items() if name in names})


def by_split(train: Mapping[str, float], val: Mapping[str, float]) -> dict[str, float]:
    """Metrics under the names of the contract: train_loss, val_loss, train_accuracy, ..."""
    return {
        f"{split}_{name}": metrics[name]
        for name in dict.fromkeys((*train, *val))
        for split, metrics in (("train", train), ("val", val))
        if name in metrics
    }


def _run_epoch(
    learner: Learner,
    params: TrainingParams,
    schedule: Schedule,
    history: History,
    progress: Progress,
) -> dict[str, float]:
    """Train the epoch that follows on `history`, and validate: the epoch's row."""
    # All randomness of an epoch follows from (seed, epoch), independent of earlier epochs.
    epoch, epochs = len(history.rows) + 1, params.epochs
    random = np.random.default_rng((params.seed, epoch))
    batches = math.ceil(learner.samples / params.batch_size)
    name = f"epoch {epoch:>{len(str(epochs))}}/{epochs}"
    progress.stage(name, "batch", batches, number=epoch, of=epochs)
    started = perf_counter()
    with stop_at_next_call() as stop_if_requested:

        def rate(epoch_done: float) -> float:
            stop_if_requested()
            progress.advance(epoch_done, learner.scores_so_far)
            return _rate(params, schedule, history, epoch_done)

        train = learner.train_epoch(rate, random)
    trained = perf_counter()
    progress.stage(f"{name}: validating")
    val = learner.validate()
    return by_split(train, val) | {
        "learning_rate": _rate(params, schedule, history, 0.0),
        "epoch_seconds": perf_counter() - started,
        "samples_per_second": learner.samples / (trained - started),
    }


def _rate(params: TrainingParams, schedule: Schedule, history: History, epoch_done: float) -> float:
    """The learning rate in the epoch that follows on `history`."""
    done = (len(history.rows) + epoch_done) / params.epochs
    return params.learning_rate * schedule(done, history)


def _reason_to_stop(history: History, options: LoopOptions) -> str:
    """Why training stops after the last epoch; "" if it does not."""
    if not history.rows:
        return ""
    patience, target_loss = options.get("patience", 0), options.get("target_loss", 0.0)
    loss = history.rows[-1]["train_loss"]
    if loss < target_loss:
        return f"its training loss of {loss:g} is below {target_loss:g} (--target_loss)"
    if patience and len(history.rows) - history.best_epoch >= patience:
        return f"none better since epoch {history.best_epoch} (--patience)"
    return ""
