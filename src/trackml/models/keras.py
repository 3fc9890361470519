"""Keras architectures. Preprocessing lives inside them: they take what a user has, raw."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trackml.fields import Activation
from trackml.models.summary import Layer, table
from trackml.tensorflow import keras


def fashion_cnn(classes: int, dropout: float) -> keras.Model:
    """Two convolutions and a dense layer, for grey images of 28 x 28.

    uint8 (N, 28, 28), raw pixels → float32 (N, classes), class probabilities.

    Args:
        dropout: rate after the dense layer; half of it after each of the two poolings.
    """
    layers = keras.layers
    pixels = keras.Input((28, 28), dtype="uint8", name="pixels")
    x = layers.Rescaling(1 / 255)(pixels)
    x = layers.Reshape((28, 28, 1))(x)
    for filters in (32, 64):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
        x = layers.Dropout(dropout / 2)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(128, activation="relu")(x)
    x = layers.Dropout(dropout)(x)
    probabilities = layers.Dense(classes, activation="softmax", name="probabilities")(x)
    return keras.Model(pixels, probabilities, name="fashion_cnn")


def dense_classifier(
    widths: Sequence[int],
    *,
    classes: int,
    activation: Activation = "relu",
    dropout: float = 0.0,
    batch_norm: bool = False,
) -> keras.Model:
    """Dense layers for grey images of 28 x 28.

    uint8 (N, 28, 28), raw pixels → float32 (N, classes), class probabilities.

    Args:
        widths: units of each hidden layer.
        dropout: rate after each of them.
        batch_norm: normalise each hidden layer's pre-activations over the batch.
    """
    pixels = keras.Input((28, 28), dtype="uint8", name="pixels")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(pixels))
    x = _hidden(x, widths, activation, dropout, batch_norm=batch_norm)
    probabilities = keras.layers.Dense(classes, activation="softmax", name="probabilities")(x)
    return keras.Model(pixels, probabilities, name="dense_classifier")


def dense_regressor(
    mean: NDArray[np.float64],
    scale: NDArray[np.float64],
    widths: Sequence[int],
    *,
    activation: Activation = "relu",
    dropout: float = 0.0,
) -> keras.Model:
    """Dense layers for a table: float32 (N, columns), raw → float32 (N, 1).

    Args:
        mean, scale: (columns,); raw columns are standardised to (x - mean) / scale.
        widths: units of each hidden layer.
        dropout: rate after each of them.
    """
    features = keras.Input((len(mean),), name="features")
    x = keras.layers.Normalization(mean=mean, variance=scale**2)(features)
    x = _hidden(x, widths, activation, dropout)
    return keras.Model(features, keras.layers.Dense(1, name="target")(x), name="dense_regressor")


def with_named_columns(model: keras.Model, columns: Sequence[str]) -> keras.Model:
    """The same model with an input float32 (N, 1) of its own for each column.

    A row with a value that is missing or infinite is answered with nan: some ReLU kernels turn nan
    into 0, from which a plausible number would come.

    Args:
        model: takes float32 (N, columns).
        columns: names in the order in which `model` has them.
    """
    inputs = {name: keras.Input((1,), name=name) for name in columns}
    together = keras.layers.Concatenate()(list(inputs.values()))
    known = keras.ops.all(keras.ops.isfinite(together), axis=1, keepdims=True)
    answers = keras.ops.where(known, model(together), float("nan"))
    return keras.Model(inputs, answers, name=f"{model.name}_of_columns")


def _hidden(
    x: Any,
    widths: Sequence[int],
    activation: Activation,
    dropout: float,
    *,
    batch_norm: bool = False,
) -> Any:
    layers = keras.layers
    for width in widths:
        x = layers.Dense(width)(x)
        if batch_norm:
            # Keras's 0.99 needs hundreds of steps to forget where it began.
            x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.Activation(activation)(x)
        x = layers.Dropout(dropout)(x)
    return x


def describe(model: keras.Model) -> tuple[int, str]:
    """The number of trainable parameters, and a table of the layers.

    Raises:
        ValueError: the model has no weights yet, as it has no Input.
    """
    if not model.built:
        raise ValueError("the model is not built; begin it with keras.Input(shape)")
    # Not model.summary(): it drops columns that do not fit the terminal that happens to be there.
    parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    layers = []
    for layer in model.layers:
        shape = " x ".join(str(size or "N") for size in getattr(layer.output, "shape", ()))
        layers.append(Layer(layer.name, type(layer).__name__, shape, layer.count_params()))
    return parameters, table(layers, parameters)
