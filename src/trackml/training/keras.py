"""Training Keras models: epochs of compiled calls over arrays that stay in memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trackml.backends import keras, standard_settings, tf
from trackml.history import History
from trackml.metrics import ACCURACY, MAE, Metric, score_classes, score_values
from trackml.params import KerasParams, OptimizerName
from trackml.training.checkpoint import Array
from trackml.training.loop import Learner, Rate, Split, Splits, TrainingRun, run_epochs
from trackml.training.precision import cpu_computes_in_bfloat16, resolve_precision
from trackml.training.schedules import Schedule, constant

Augment = Callable[[Any, Any], Any]
"""(images (B, ...), stateless seed int32 (2,)) → images of the same shape, all tensors."""

STEPS_PER_CALL = 50  # of a compiled function: enough to make the cost of Python vanish
PREDICT_BATCH = 1_000

OPTIMIZERS: Mapping[OptimizerName, Callable[[], keras.Optimizer]] = {
    "adam": keras.optimizers.Adam,
    "sgd": partial(keras.optimizers.SGD, momentum=0.9, nesterov=True),
    "rmsprop": keras.optimizers.RMSprop,
}


@dataclass(frozen=True)
class Objective:
    """What training minimizes, and the function that scores predictions (N, outputs)."""

    loss: str  # Keras's name
    metric: Metric  # ranks epochs
    score: Callable[[Array, Array], Mapping[str, float]]  # (predictions, targets) → metrics


CLASSIFICATION = Objective("sparse_categorical_crossentropy", ACCURACY, score_classes)
REGRESSION = Objective("mean_squared_error", MAE, score_values)


@standard_settings()
def fit(
    model: keras.Model,
    data: Splits,
    params: KerasParams,
    *,
    optimizer: keras.Optimizer,
    objective: Objective = CLASSIFICATION,
    augment: Augment | None = None,
    schedule: Schedule = constant,
    patience: int = 0,
    run: TrainingRun | None = None,
) -> History:
    """Train a model, and leave the weights of its best epoch in it.

    Only the training steps use `params.precision`. The model stays float32 and is validated as
    others will load it.

    Args:
        optimizer: its learning rate becomes that of `params` times the schedule.
        augment: changes the images of every training batch, with fresh random numbers.
        schedule, patience, run: as in `run_epochs`, which raises the same errors.
    """
    learner = _KerasLearner(model, data, params, optimizer, objective, augment)
    return run_epochs(learner, params, schedule=schedule, patience=patience, run=run)


@dataclass(eq=False)
class _KerasLearner(Learner):
    """A float32 model, and a copy of it that is trained in `precision`."""

    model: keras.Model
    data: Splits
    params: KerasParams
    optimizer: keras.Optimizer
    objective: Objective
    augment: Augment | None

    def __post_init__(self) -> None:
        gpus = tf.config.list_physical_devices("GPU")
        self.device = "cuda" if gpus else "cpu"
        native = _computes_in_bfloat16(gpus)
        self.precision = resolve_precision(self.params.precision, native=native)
        self.metric, self.samples = self.objective.metric, len(self.data.train.arrays[1])
        self._predict = predictor(self.model)
        self._copy = _copy_in(self.model, self.precision)
        self._copy.compile(self.optimizer, self.objective.loss, metrics=[self.metric.name])
        self.optimizer.build(self._copy.trainable_variables)
        batch_size = min(self.params.batch_size, self.samples)  # a larger one could overflow int32
        self._rows_per_call = batch_size * STEPS_PER_CALL
        self._train_steps = _train_steps(self._copy, self.data.train, batch_size, self.augment)

    def train_epoch(self, rate: Rate, random: np.random.Generator) -> Mapping[str, float]:
        self._copy.reset_metrics()
        # Without this, dropout would continue the random numbers of the epoch before.
        for variable in self._copy.variables:
            if variable.path.endswith("seed_generator_state"):
                variable.assign(random.integers(2**31, size=variable.shape))
        order = random.permutation(self.samples).astype(np.int32)
        epoch_seed = int(random.integers(2**31))
        for first in range(0, self.samples, self._rows_per_call):
            self.optimizer.learning_rate = rate(first / self.samples)
            rows = order[first : first + self._rows_per_call]
            self._train_steps(tf.constant(rows), tf.constant([epoch_seed, first]))
        self.model.set_weights(self._copy.get_weights())
        return {name: float(value) for name, value in self._copy.get_metrics_result().items()}

    def validate(self) -> Mapping[str, float]:
        inputs, targets = self.data.validation.arrays
        return self.objective.score(self._predict(inputs), targets)

    def get_weights(self) -> list[Array]:
        return list(self.model.get_weights())

    def set_weights(self, weights: Sequence[Array]) -> None:
        self.model.set_weights(weights)

    def get_state(self) -> Mapping[str, Array]:
        # By number, because Keras's names depend on what else the process has created.
        return {str(number): variable.numpy() for number, variable in enumerate(self._variables)}

    def set_state(self, state: Mapping[str, Array]) -> None:
        for number, variable in enumerate(self._variables):
            variable.assign(state[str(number)])
        self.model.set_weights(self._copy.get_weights())

    @property
    def _variables(self) -> list[Any]:
        return [*self._copy.variables, *self.optimizer.variables]


def predictor(model: keras.Model) -> Callable[[Array], NDArray[np.float32]]:
    """A function of inputs (N, ...) that returns the model's outputs, float32 (N, outputs).

    It is compiled once. Keras's own `predict` takes 40 ms to start each time.

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> predictor(model)(np.zeros((2, 4), np.float32)).shape
    (2, 3)
    """
    compiled = tf.function(partial(model, training=False), reduce_retracing=True, autograph=False)

    def predict(inputs: Array) -> NDArray[np.float32]:
        batches = range(0, len(inputs), PREDICT_BATCH)
        return np.concatenate(
            [compiled(tf.constant(inputs[row : row + PREDICT_BATCH])).numpy() for row in batches]
        )

    return predict


def _computes_in_bfloat16(gpus: Sequence[Any]) -> bool:
    if not gpus:
        return cpu_computes_in_bfloat16()
    details = tf.config.experimental.get_device_details(gpus[0])
    return bool(details.get("compute_capability", (0, 0)) >= (8, 0))  # NVIDIA since Ampere


def _copy_in(model: keras.Model, precision: str) -> keras.Model:
    """A copy that computes in `precision`, except its last layer, Normalization, inner models."""
    policy = "mixed_bfloat16" if precision == "bfloat16" else "float32"

    def copy(layer: keras.Layer) -> keras.Layer:
        if isinstance(layer, keras.layers.Normalization):
            # bfloat16 has too few digits for raw values such as a longitude.
            return layer  # itself: its config lacks the statistics that it was adapted to
        # A loss of bfloat16 probabilities, which have three digits, would be inexact.
        dtype = "float32" if layer is model.layers[-1] else policy
        return type(layer).from_config(layer.get_config() | {"dtype": dtype})

    copied = keras.models.clone_model(model, clone_function=copy)
    copied.set_weights(model.get_weights())
    return copied


def _train_steps(model: keras.Model, data: Split, batch_size: int, augment: Augment | None) -> Any:
    """A compiled function of the rows to train on, int32 (N,), and a stateless seed, int32 (2,)."""
    inputs, targets = map(tf.constant, data.arrays)

    def train_steps(rows: Any, seed: Any) -> None:
        def step(first: Any) -> Any:
            batch = rows[first : first + batch_size]
            x = tf.gather(inputs, batch)
            if augment is not None:
                x = augment(x, seed + [0, first])
            model.train_step((x, tf.gather(targets, batch)))
            return first + batch_size

        # Not a Python loop: AutoGraph cannot rewrite those under Python 3.13.
        tf.while_loop(lambda first: first < tf.shape(rows)[0], step, [tf.constant(0)])

    return tf.function(train_steps, reduce_retracing=True, autograph=False)
