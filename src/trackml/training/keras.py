"""Training Keras models: epochs of compiled calls over arrays that stay in memory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from trackml.backends import keras, standard_settings, tf
from trackml.history import History
from trackml.models.keras import trained_part
from trackml.params import KerasParams, OptimizerName
from trackml.training.augmentation import draw
from trackml.training.checkpoint import Array
from trackml.training.keras_images import as_tensors
from trackml.training.keras_steps import ModelAverage, loss_of, train_steps
from trackml.training.loop import Learner, Rate, Splits, loop_options, run_epochs
from trackml.training.options import FitOptions, FitSettings
from trackml.training.precision import cpu_computes_in_bfloat16, resolve_precision

STEPS_PER_CALL = 50  # of a compiled function: enough to make the cost of Python vanish
MIN_CALLS = 4  # per epoch, as a call has one learning rate
PREDICT_BATCH = 1_000
WEIGHT_DECAY = 0.01  # of adamw, as in PyTorch

OPTIMIZERS: Mapping[OptimizerName, Callable[..., keras.Optimizer]] = {
    "adam": keras.optimizers.Adam,
    "sgd": partial(keras.optimizers.SGD, momentum=0.9, nesterov=True),
    "rmsprop": keras.optimizers.RMSprop,
    "adamw": partial(keras.optimizers.AdamW, weight_decay=WEIGHT_DECAY),
}
"""Name → function of, for adamw, weight_decay: a step also takes its share, times the rate, off."""


@standard_settings()
def fit(
    model: keras.Model,
    data: Splits,
    params: KerasParams,
    *,
    optimizer: keras.Optimizer,
    **options: Unpack[FitOptions],
) -> History:
    """Train a model, and leave the weights of its best epoch in it.

    Only the training steps use `params.precision`. The model stays float32 and is validated as
    others will load it.

    Args:
        model: inputs (N, ...) → class probabilities (N, C), or values (N, 1).
        optimizer: its learning rate becomes that of `params` times the schedule.
        options: those of `FitOptions`.

    Raises:
        TypeError: there is no such option.
        ValueError: the value of an option is not allowed.
        NonFiniteLoss: as `run_epochs` has it.
    """
    settings = FitSettings.of_data(options, data)
    learner = _KerasLearner(model, data, params, optimizer, settings)
    with _clipping(optimizer, settings.clip_norm):
        return run_epochs(learner, params, **loop_options(options))


@contextmanager
def _clipping(optimizer: keras.Optimizer, norm: float) -> Iterator[None]:
    """Let the optimizer clip gradients to a global norm in the block; 0 leaves it as it is."""
    if not norm:
        yield
        return
    own = {name: getattr(optimizer, name) for name in ("clipnorm", "clipvalue", "global_clipnorm")}
    if any(own.values()):
        raise ValueError(f"clip_norm {norm:g}: the optimizer clips already. Received: {own}")
    optimizer.global_clipnorm = norm
    try:
        yield
    finally:
        optimizer.global_clipnorm = own["global_clipnorm"]


@dataclass(eq=False)
class _KerasLearner(Learner):
    """A float32 model, and a copy of it that is trained in `precision`.

    With `ema_decay` the model has the average of the copy's weights, else its weights.
    """

    model: keras.Model
    data: Splits
    params: KerasParams
    optimizer: keras.Optimizer
    settings: FitSettings

    def __post_init__(self) -> None:
        gpus = tf.config.list_physical_devices("GPU")
        self.device = "cuda" if gpus else "cpu"
        native = _computes_in_bfloat16(gpus)
        self.precision = resolve_precision(self.params.precision, native=native)
        self.metric, self.metrics = self.settings.metric, self.settings.metrics
        self.samples = len(self.data.train.arrays[1])
        self._predict = predictor(self.model)
        self._copy = copy_in(trained_part(self.model), self.precision)
        if isinstance(self.model.output_shape, tuple):
            self.settings.check_outputs(self.model.output_shape)
        objective = self.settings.objective
        self._copy.compile(self.optimizer, loss_of(self.settings), metrics=[objective.metric.name])
        self.optimizer.build(self._copy.trainable_variables)
        # A larger one could overflow int32.
        self._batch_size = min(self.params.batch_size, self.samples)
        steps = self.samples // self._batch_size // MIN_CALLS
        self._rows_per_call = self._batch_size * max(1, min(STEPS_PER_CALL, steps))
        self._average = ModelAverage(self.model, self._copy, self.settings.ema_decay)

    @cached_property
    def _train_steps(self) -> Any:
        """Compiled in the first epoch: its time includes this, and the optimizer clips by then."""
        return train_steps(
            self._copy, self.data.train, self._batch_size, self.settings, self._average
        )

    def train_epoch(self, rate: Rate, random: np.random.Generator) -> Mapping[str, float]:
        self._copy.reset_metrics()
        # Without this, dropout would continue the random numbers of the epoch before.
        for variable in self._copy.variables:
            if variable.path.endswith("seed_generator_state"):
                variable.assign(random.integers(2**31, size=variable.shape))
        order = random.permutation(self.samples).astype(np.int32)
        shape = self.data.train.arrays[0].shape[1:]
        changes = draw(self.settings.augment, self.samples, shape, random)
        for first in range(0, self.samples, self._rows_per_call):
            self.optimizer.learning_rate = rate(first / self.samples)
            rows = slice(first, first + self._rows_per_call)
            self._train_steps(tf.constant(order[rows]), *as_tensors(changes[rows]))
        self._keep_weights()
        return self.scores_so_far()

    def scores_so_far(self) -> Mapping[str, float]:
        return {name: float(value) for name, value in self._copy.get_metrics_result().items()}

    def validate(self) -> Mapping[str, float]:
        inputs, targets = self.data.validation.arrays
        self.answers = self._predict(inputs)
        return self.settings.scores(self.answers, targets)

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
        self._keep_weights()

    def _keep_weights(self) -> None:
        if not self._average.decay:
            self.model.set_weights(self._copy.get_weights())

    @property
    def _variables(self) -> list[Any]:
        return [*self._copy.variables, *self.optimizer.variables, *self._average.variables]


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


def copy_in(model: keras.Model, precision: str) -> keras.Model:
    """A copy that computes in `precision`, except its outputs, Normalization, inner models."""
    policy = "mixed_bfloat16" if precision == "bfloat16" else "float32"
    weighted = [number for number, layer in enumerate(model.layers) if layer.weights]
    outputs = {id(layer) for layer in model.layers[max(weighted, default=0) :]}

    def copy(layer: keras.Layer) -> keras.Layer:
        if isinstance(layer, keras.layers.Normalization) or not isinstance(layer, keras.Layer):
            # bfloat16 has too few digits for raw values such as a longitude. The layer itself, as
            # its config lacks the statistics that it was adapted to. An operation has no state.
            return layer
        # A loss of bfloat16 outputs, which have three digits, would be inexact.
        dtype = "float32" if id(layer) in outputs else policy
        return type(layer).from_config(layer.get_config() | {"dtype": dtype})

    copied = keras.models.clone_model(model, clone_function=copy)
    copied.set_weights(model.get_weights())
    return copied
