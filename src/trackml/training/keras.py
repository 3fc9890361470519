"""Training Keras models: epochs of compiled calls over arrays that stay in memory."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trackml.fields import OptimizerName
from trackml.history import EpochHook, History
from trackml.params import KerasParams
from trackml.tensorflow import keras, tf
from trackml.training.loop import Rate, run_epochs
from trackml.training.objectives import CLASSIFICATION, Array, Loss, Objective, Splits
from trackml.training.precision import cpu_computes_in_bfloat16, resolve_precision
from trackml.training.schedules import Schedule, constant

Augment = Callable[[Any, Any], Any]
"""(images (B, ...), stateless seed int32 (2,)) → images of the same shape, all tensors."""

STEPS_PER_CALL = 50  # between two returns to Python: enough to make its cost vanish
PREDICT_BATCH = 1_000

OPTIMIZERS: Mapping[OptimizerName, Callable[[], keras.Optimizer]] = {
    "adam": keras.optimizers.Adam,
    "sgd": partial(keras.optimizers.SGD, momentum=0.9, nesterov=True),
    "rmsprop": keras.optimizers.RMSprop,
}
_LOSSES: Mapping[Loss, str] = {
    "cross_entropy": "sparse_categorical_crossentropy",
    "squared_error": "mean_squared_error",
}


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
    hooks: Sequence[EpochHook | None] = (),
) -> History:
    """Train `model`, and leave in it the weights of its best validation epoch.

    `params.precision` is that of the training steps alone: validation, and the model that is kept,
    are float32, so that the scores are those of the model that others will load.

    Args:
        optimizer: its learning rate becomes that of `params`, times the schedule.
        augment: applied to every training batch, with fresh random numbers.
        schedule, patience, hooks: as in `run_epochs`.

    Raises:
        NonFiniteLoss: the loss, or a weight, left the numbers. The hooks have not seen that epoch.
    """
    learner = _KerasLearner(model, data, params, optimizer, objective, augment)
    return run_epochs(learner, params, schedule=schedule, patience=patience, hooks=hooks)


class _KerasLearner:
    """A float32 model, and its twin that is trained in `precision`."""

    def __init__(
        self,
        model: keras.Model,
        data: Splits,
        params: KerasParams,
        optimizer: keras.Optimizer,
        objective: Objective,
        augment: Augment | None,
    ) -> None:
        gpus = tf.config.list_physical_devices("GPU")
        self.device = "cuda" if gpus else "cpu"
        self.precision = resolve_precision(params.precision, native=_compute_in_bfloat16(gpus))
        self._model, self._optimizer, self._predictor = model, optimizer, predictor(model)
        self._trainee = _twin(model, self.precision)
        self._trainee.compile(optimizer, _LOSSES[objective.loss], metrics=[objective.metric])
        optimizer.build(self._trainee.trainable_variables)
        inputs, targets = data.train.arrays
        self.samples, self.metric = len(targets), objective.metric
        self._validation, self._score = data.validation, objective.score
        batch_size = min(params.batch_size, self.samples)  # a larger one could overflow int32
        self._rows_per_call = batch_size * STEPS_PER_CALL
        self._train_steps = _train_steps(self._trainee, inputs, targets, batch_size, augment)

    def train_epoch(self, rate: Rate, random: np.random.Generator) -> Mapping[str, float]:
        self._trainee.reset_metrics()
        # Dropout's generators would otherwise go on from where the last epoch left them.
        for variable in self._trainee.variables:
            if variable.path.endswith("seed_generator_state"):
                variable.assign(random.integers(2**31, size=variable.shape))
        order = random.permutation(self.samples).astype(np.int32)
        epoch_seed = int(random.integers(2**31))
        for first in range(0, self.samples, self._rows_per_call):
            self._optimizer.learning_rate = rate(first / self.samples)
            rows = order[first : first + self._rows_per_call]
            self._train_steps(tf.constant(rows), tf.constant([epoch_seed, first]))
        self._model.set_weights(self._trainee.get_weights())
        return {name: float(value) for name, value in self._trainee.get_metrics_result().items()}

    def validate(self) -> Mapping[str, float]:
        inputs, targets = self._validation.arrays
        return self._score(self._predictor(inputs), targets)

    def get_weights(self) -> list[Array]:
        weights: list[Array] = self._model.get_weights()
        return weights

    def set_weights(self, weights: Sequence[Array]) -> None:
        self._model.set_weights(weights)

    def get_state(self) -> Mapping[str, Array]:
        return {name: variable.numpy() for name, variable in self._variables.items()}

    def set_state(self, state: Mapping[str, Array]) -> None:
        for name, variable in self._variables.items():
            variable.assign(state[name])
        self._model.set_weights(self._trainee.get_weights())

    @property
    def _variables(self) -> dict[str, Any]:
        # By number: the names that Keras gives depend on what else the process has made.
        variables = [*self._trainee.variables, *self._optimizer.variables]
        return {str(number): variable for number, variable in enumerate(variables)}


def predictor(model: keras.Model) -> Callable[[Array], NDArray[np.float32]]:
    """A function of inputs (N, ...) that gives the model's answers: float32 (N, outputs).

    Compiled once. Keras's own `predict` takes 40 ms to begin, each time.
    """
    compiled = tf.function(partial(model, training=False), reduce_retracing=True, autograph=False)

    def answer(inputs: Array) -> NDArray[np.float32]:
        batches = range(0, len(inputs), PREDICT_BATCH)
        return np.concatenate(
            [compiled(tf.constant(inputs[row : row + PREDICT_BATCH])).numpy() for row in batches]
        )

    return answer


def _compute_in_bfloat16(gpus: Sequence[Any]) -> bool:
    if not gpus:
        return cpu_computes_in_bfloat16()
    details = tf.config.experimental.get_device_details(gpus[0])
    return bool(details.get("compute_capability", (0, 0)) >= (8, 0))  # NVIDIA since Ampere


def _twin(model: keras.Model, precision: str) -> keras.Model:
    """The same architecture and weights, computing in `precision`.

    The last layer computes in float32, and so do Normalization and models that are layers.
    """
    policy = "mixed_bfloat16" if precision == "bfloat16" else "float32"

    def convert(layer: keras.Layer) -> keras.Layer:
        if isinstance(layer, keras.layers.Normalization):
            # Raw values, such as a longitude, have more digits than bfloat16. The layer itself, as
            # statistics that it was adapted to are not in its config.
            return layer
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
