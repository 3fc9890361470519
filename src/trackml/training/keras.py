"""The epoch loop of Keras models."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trackml.evaluation.metrics import score_classes
from trackml.history import EpochHook, History, Metric, NonFiniteLoss
from trackml.params import KerasParams
from trackml.tensorflow import keras, tf
from trackml.training.precision import cpu_computes_in_bfloat16, resolve_precision

Array = NDArray[Any]
Augment = Callable[[Any, Any], Any]
"""(images (B, ...), stateless seed int32 (2,)) → images of the same shape, all tensors."""

STEPS_PER_CALL = 50  # between two returns to Python: enough to make its cost vanish
PREDICT_BATCH = 1_000
LARGEST_WEIGHT = 1e19  # the square of a larger one overflows float32


class Split(Protocol):
    """Anything with a pair of arrays: inputs (N, ...) and targets (N,)."""

    @property
    def arrays(self) -> tuple[Array, Array]: ...


class Data(Protocol):
    """Anything with a training and a validation split."""

    @property
    def train(self) -> Split: ...

    @property
    def validation(self) -> Split: ...


@dataclass(frozen=True)
class Objective:
    """What training is for.

    Attributes:
        loss: what Keras minimises.
        metric: what Keras counts on the way, and what ranks epochs.
        score: (predictions, targets) → {"loss": ..., metric: ...}, for the validation data.
    """

    loss: str
    metric: Metric
    score: Callable[[Array, Array], Mapping[str, float]]


CLASSIFICATION = Objective("sparse_categorical_crossentropy", "accuracy", score_classes)


def fit(
    model: keras.Model,
    data: Data,
    params: KerasParams,
    *,
    optimizer: keras.Optimizer,
    objective: Objective = CLASSIFICATION,
    augment: Augment | None = None,
    hooks: Sequence[EpochHook | None] = (),
) -> History:
    """Train `model`, and leave in it the weights of its best validation epoch.

    `params.precision` is that of the training steps alone: validation, and the model that is kept,
    are float32, so that the scores are those of the model that others will load.

    Args:
        augment: applied to every training batch, with fresh random numbers.
        hooks: called after each epoch; None is skipped.

    Raises:
        NonFiniteLoss: the loss, or a weight, left the numbers. The hooks have not seen that epoch.
    """
    precision = resolve_precision(params.precision, native=_computes_in_bfloat16())
    trainee = _twin(model, precision)
    trainee.compile(optimizer=optimizer, loss=objective.loss, metrics=[objective.metric])
    optimizer.build(trainee.trainable_variables)
    inputs, targets = data.train.arrays
    train_steps = _train_steps(trainee, inputs, targets, params.batch_size, augment)
    dropout_states = [v for v in trainee.variables if v.path.endswith("seed_generator_state")]
    samples, rows_per_call = len(targets), params.batch_size * STEPS_PER_CALL
    validation_inputs, validation_targets = data.validation.arrays

    history, best_weights = History(objective.metric, precision), []
    for epoch in range(1, params.epochs + 1):
        started = perf_counter()
        learning_rate = float(optimizer.learning_rate)
        trainee.reset_metrics()
        # All randomness of an epoch follows from (seed, epoch), whatever happened before it:
        # dropout's too, whose generators would otherwise go on from where the last epoch left them.
        random = np.random.default_rng((params.seed, epoch))
        for state in dropout_states:
            state.assign(random.integers(2**31, size=state.shape))
        order = random.permutation(samples).astype(np.int32)
        epoch_seed = int(random.integers(2**31))
        for first in range(0, samples, rows_per_call):
            rows = order[first : first + rows_per_call]
            train_steps(tf.constant(rows), tf.constant([epoch_seed, first]))
        train = {name: float(value) for name, value in trainee.get_metrics_result().items()}
        trained = perf_counter()

        model.set_weights(trainee.get_weights())
        val = objective.score(predict(model, validation_inputs), validation_targets)
        row = {
            "train_loss": train["loss"],
            "val_loss": val["loss"],
            f"train_{objective.metric}": train[objective.metric],
            f"val_{objective.metric}": val[objective.metric],
            "learning_rate": learning_rate,
            "epoch_seconds": perf_counter() - started,
            "samples_per_second": samples / (trained - started),
        }
        history = history.extended(row)
        weights = model.get_weights()
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
    model.set_weights(best_weights)
    return history


def predict(model: keras.Model, inputs: Array) -> NDArray[np.float32]:
    """The model's answers to inputs (N, ...): float32 (N, outputs)."""
    answers: NDArray[np.float32] = model.predict(inputs, batch_size=PREDICT_BATCH, verbose=0)
    return answers


def _computes_in_bfloat16() -> bool:
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return cpu_computes_in_bfloat16()
    details = tf.config.experimental.get_device_details(gpus[0])
    return bool(details.get("compute_capability", (0, 0)) >= (8, 0))  # NVIDIA since Ampere


def _twin(model: keras.Model, precision: str) -> keras.Model:
    """The same architecture and weights, computing in `precision`.

    The last layer computes in float32, and so do models that are layers of the model.
    """
    policy = "mixed_bfloat16" if precision == "bfloat16" else "float32"

    def convert(layer: keras.Layer) -> keras.Layer:
        # A loss taken from bfloat16 probabilities, of three digits, would lose its last ones.
        dtype = "float32" if layer is model.layers[-1] else policy
        return type(layer).from_config(layer.get_config() | {"dtype": dtype})

    twin = keras.models.clone_model(model, clone_function=convert)
    twin.set_weights(model.get_weights())
    return twin


def _train_steps(
    model: keras.Model, inputs: Array, targets: Array, batch_size: int, augment: Augment | None
) -> Callable[[Any, Any], None]:
    """A compiled function that takes the rows to train on, in order, and a stateless seed."""
    all_inputs, all_targets = tf.constant(inputs), tf.constant(targets)

    def train_steps(rows: Any, seed: Any) -> None:
        def step(first: Any) -> Any:
            batch = rows[first : first + batch_size]
            x = tf.gather(all_inputs, batch)
            if augment is not None:
                x = augment(x, seed + [0, first])
            model.train_step((x, tf.gather(all_targets, batch)))
            return first + batch_size

        # Not a Python loop that AutoGraph rewrites: it cannot do that under Python 3.13.
        tf.while_loop(lambda first: first < tf.shape(rows)[0], step, [tf.constant(0)])

    compiled: Callable[[Any, Any], None] = tf.function(
        train_steps, reduce_retracing=True, autograph=False
    )
    return compiled
