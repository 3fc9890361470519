"""The compiled steps of training in Keras: losses, weights of rows, averages of weights."""

from collections.abc import Callable, Mapping
from typing import Any

from trackml.backends import keras, tf
from trackml.training.averages import decay_at
from trackml.training.checkpoint import Array
from trackml.training.loop import Split
from trackml.training.objectives import CLASSIFICATION, REGRESSION, Objective

Augment = Callable[[Any, Any], Any]
"""(images (B, ...), stateless seed int32 (2,)) → images of the same shape, all tensors."""

LOSSES: Mapping[str, str] = {
    CLASSIFICATION.name: "sparse_categorical_crossentropy",
    REGRESSION.name: "mean_squared_error",
}


def loss_of(objective: Objective, label_smoothing: float) -> Any:
    """The loss as Keras's `compile` takes it."""
    if not label_smoothing:
        return LOSSES[objective.name]

    def smoothed(labels: Any, probabilities: Any) -> Any:
        one_hot = keras.ops.one_hot(labels, probabilities.shape[-1])
        crossentropy = keras.losses.categorical_crossentropy
        return crossentropy(one_hot, probabilities, label_smoothing=label_smoothing)

    return smoothed


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
    augment: Augment | None,
    class_weights: Array | None,
    average: ModelAverage,
) -> Any:
    """A compiled function of the rows to train on, int32 (N,), and a stateless seed, int32 (2,)."""
    inputs, targets = map(tf.constant, data.arrays)

    def train(rows: Any, seed: Any) -> None:
        def step(first: Any) -> Any:
            batch = rows[first : first + batch_size]
            x, target = tf.gather(inputs, batch), tf.gather(targets, batch)
            if augment is not None:
                x = augment(x, seed + [0, first])
            weights = () if class_weights is None else (tf.gather(class_weights, target),)
            model.train_step((x, target, *weights))
            average.update()
            return first + batch_size

        # Not a Python loop: AutoGraph cannot rewrite those under Python 3.13.
        tf.while_loop(lambda first: first < tf.shape(rows)[0], step, [tf.constant(0)])

    return tf.function(train, reduce_retracing=True, autograph=False)
