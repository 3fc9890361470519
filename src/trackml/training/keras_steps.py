"""The compiled steps of training in Keras: losses, weights of rows, averages of weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from trackml.backends import keras, tf
from trackml.training.augmentation import Changes, draw
from trackml.training.averages import decay_at
from trackml.training.keras_images import as_tensors, change, mix
from trackml.training.loop import Split
from trackml.training.objectives import CLASSIFICATION, REGRESSION
from trackml.training.options import FitSettings

LOSSES: Mapping[str, str] = {
    CLASSIFICATION.name: "sparse_categorical_crossentropy",
    REGRESSION.name: "mean_squared_error",
}


def loss_of(settings: FitSettings) -> Any:
    """The loss as Keras's `compile` takes it."""
    if not settings.has_soft_targets:
        return LOSSES[settings.objective.name]
    return keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing)


class ModelAverage:
    """The exponential moving average of a model's weights, in those of another model.

    With a decay of 0 it does nothing.
    """

    def __init__(self, average: keras.Model, trained: keras.Model, decay: float) -> None:
        self.decay = decay
        # They share layers without trained weights.
        pairs = zip(average.weights, trained.weights, strict=True) if decay else ()
        self._pairs = [(mean, weight) for mean, weight in pairs if mean is not weight]
        self._steps = [tf.Variable(0.0)] if decay else []

    @property
    def variables(self) -> list[Any]:
        return [*(mean for mean, _ in self._pairs), *self._steps]

    def update(self) -> None:
        """Add the weights after a step."""
        for steps in self._steps:
            added = 1.0 - decay_at(self.decay, steps, tf.minimum)
            for mean, weight in self._pairs:
                if mean.dtype.startswith("float"):
                    mean.assign_add((weight - mean) * added)
                else:
                    mean.assign(weight)
            steps.assign_add(1.0)


def train_steps(
    model: keras.Model,
    data: Split,
    batch_size: int,
    settings: FitSettings,
    average: ModelAverage,
) -> Any:
    """A compiled function of the rows to train on, int32 (N,), and the parts of their changes."""
    inputs, targets = map(tf.constant, data.arrays)
    class_weights = settings.class_weights

    def as_outputs(target: Any) -> Any:
        return tf.one_hot(target, settings.outputs) if settings.has_soft_targets else target

    def train(rows: Any, *parts: Any) -> None:
        def step(first: Any) -> Any:
            batch = slice(first, first + batch_size)
            x, target = tf.gather(inputs, rows[batch]), tf.gather(targets, rows[batch])
            changes = Changes(*parts)[batch]
            weights = [] if class_weights is None else [tf.gather(class_weights, target)]
            target = as_outputs(target)
            if changes.shares is not None:
                target, *weights = (mix(each, changes.shares) for each in (target, *weights))
            model.train_step((change(x, changes), target, *weights))
            average.update()
            return first + batch_size

        # Not a Python loop: AutoGraph cannot rewrite those under Python 3.13.
        tf.while_loop(lambda first: first < tf.shape(rows)[0], step, [tf.constant(0)])

    # Makes the variables of metrics: if `train` made them, TensorFlow would compile it twice. By
    # Keras's own method, as a model's may expect inputs.
    outputs = tf.zeros((1, settings.outputs))
    keras.Model.compute_metrics(model, None, as_outputs(targets[:1]), outputs)
    model.reset_metrics()
    # Of the changes only shapes and dtypes count.
    example = draw(settings.augment, 1, inputs.shape[1:], np.random.default_rng(0))
    specs = [_spec_of(part) for part in (tf.constant([0]), *as_tensors(example))]
    return tf.function(train, autograph=False).get_concrete_function(*specs)


def _spec_of(example: Any) -> Any:
    """The TensorSpec of tensors like an example, with any number of rows; None for None."""
    return None if example is None else tf.TensorSpec((None, *example.shape[1:]), example.dtype)
