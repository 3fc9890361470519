"""Keras architectures. Preprocessing is part of them: their input is raw."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trackml.backends import keras, standard_settings
from trackml.models.summary import LayerRow, check_image_shape, table
from trackml.models.tables import Encoding, Table

MIRROR_MEAN = "mirror_mean"
MOMENTUM = 0.9  # of batch normalization: Keras's 0.99 takes hundreds of steps to forget its start


@standard_settings()
def fashion_cnn(classes: int, dropout: float, *, shape: tuple[int, ...] = (28, 28)) -> keras.Model:
    """Two convolutions and a dense layer, for images.

    uint8 (N, *shape), raw pixels → float32 (N, classes), class probabilities.

    Args:
        dropout: rate after the dense layer; half of it after each of the two poolings.
        shape: of an image: (height, width), or (height, width, channels).

    Raises:
        ValueError: the images are smaller than 4 x 4.
    """
    check_image_shape(shape, poolings=2)
    layers = keras.layers
    pixels = keras.Input(shape, dtype="uint8", name="pixels")
    x = layers.Rescaling(1 / 255)(pixels)
    if len(shape) == 2:
        x = layers.Reshape((*shape, 1))(x)
    for filters in (32, 64):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
        x = layers.Dropout(dropout / 2)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(128, activation="relu")(x)
    x = layers.Dropout(dropout)(x)
    probabilities = layers.Dense(classes, activation="softmax", name="probabilities")(x)
    return keras.Model(pixels, probabilities, name="fashion_cnn")


@standard_settings()
def dense_classifier(
    widths: Sequence[int],
    *,
    classes: int,
    activation: str = "relu",
    dropout: float = 0.0,
    batch_norm: bool = False,
) -> keras.Model:
    """Dense layers for gray images of 28 x 28.

    uint8 (N, 28, 28), raw pixels → float32 (N, classes), class probabilities.

    Args:
        widths: units of each hidden layer.
        dropout: rate after each of them.
        batch_norm: normalize each hidden layer's pre-activations over the batch.
    """
    pixels = keras.Input((28, 28), dtype="uint8", name="pixels")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(pixels))
    x = _hidden(x, widths, activation, dropout, batch_norm=batch_norm)
    probabilities = keras.layers.Dense(classes, activation="softmax", name="probabilities")(x)
    return keras.Model(pixels, probabilities, name="dense_classifier")


@standard_settings()
def dense_regressor(
    mean: NDArray[np.float64],
    scale: NDArray[np.float64],
    widths: Sequence[int],
    *,
    activation: str = "relu",
    dropout: float = 0.0,
    target: NDArray[np.float32] | None = None,
) -> keras.Model:
    """Dense layers for a table: float32 (N, columns), raw → float32 (N, 1).

    Args:
        mean, scale: (columns,); raw columns are standardized to (x - mean) / scale.
        widths: units of each hidden layer.
        dropout: rate after each of them.
        target: (N,), of the training rows. A last layer adds its mean to the outputs and
            multiplies them by its standard deviation: the others learn the standardized target.
            None = they learn it as it is.
    """
    features = keras.Input((len(mean),), name="features")
    x = keras.layers.Normalization(mean=mean, variance=scale**2)(features)
    x = _hidden(x, widths, activation, dropout)
    x = keras.layers.Dense(1, name="target")(x)
    if target is not None:
        offset, unit = float(target.mean(dtype=np.float64)), float(target.std(dtype=np.float64))
        x = keras.layers.Rescaling(unit or 1.0, offset, name="unit")(x)
    return keras.Model(features, x, name="dense_regressor")


@standard_settings()
def table_inputs(data: Table) -> tuple[Any, Any]:
    """The input of a network for tables, float32 (N, columns), and what its first layer gets.

    That is float32 (N, M): numbers standardized, texts one-hot, as `Encoding` has it. Built-in
    operations do it, so that a saved model loads anywhere.

    >>> from trackml.data import TableData
    >>> homes = np.ones((10, 2)), np.arange(10)
    >>> data = TableData.from_arrays("homes", homes, homes, columns=["rooms", "age"])
    >>> features, x = table_inputs(data)
    >>> keras.Model(features, keras.layers.Dense(1)(x)).output_shape
    (None, 1)
    """
    encoding, ops = Encoding.of(data), keras.ops
    features = keras.Input((len(data.columns),), name="features")
    parts = []
    if encoding.numbers:
        numbers = ops.take(features, list(encoding.numbers), axis=1)
        scaling = keras.layers.Normalization(mean=encoding.mean, variance=encoding.scale**2)
        x = scaling(numbers)
        parts.append(ops.where(ops.isnan(numbers), 0.0, x) if encoding.imputes else x)
    if encoding.gaps:
        gaps = ops.isnan(ops.take(features, list(encoding.gaps), axis=1))
        parts.append(ops.cast(gaps, "float32"))
    for position, count in encoding.texts.items():
        text = ops.take(features, [position], axis=1)
        parts.append(ops.cast(ops.equal(text, np.arange(count, dtype=np.float32)), "float32"))
    return features, parts[0] if len(parts) == 1 else keras.layers.Concatenate()(parts)


@standard_settings()
def with_named_columns(model: keras.Model, columns: Sequence[str]) -> keras.Model:
    """The same model with an input float32 (N, 1) for each column, instead of (N, columns).

    The output of a row with a missing or infinite value is nan: some ReLU kernels turn nan into 0,
    from which a plausible number would come.

    Args:
        columns: names in the order in which `model` has them.
    """
    inputs = {name: keras.Input((1,), name=name) for name in columns}
    features = keras.layers.Concatenate()(list(inputs.values()))
    complete = keras.ops.all(keras.ops.isfinite(features), axis=1, keepdims=True)
    outputs = keras.ops.where(complete, model(features), float("nan"))
    return keras.Model(inputs, outputs, name=f"{model.name}_of_columns")


@standard_settings()
def mirror_mean(model: keras.Model) -> keras.Model:
    """A model whose answer is the mean of another's answers for an image and its mirror image.

    `fit` trains the other, on single images.

    Args:
        model: images (N, H, W) or (N, H, W, C) → class probabilities (N, classes).
    """
    pixels = keras.Input(model.input_shape[1:], dtype=model.inputs[0].dtype, name="pixels")
    answers = [model(pixels), model(keras.ops.flip(pixels, axis=2))]
    return keras.Model(pixels, keras.layers.Average()(answers), name=f"{model.name}_{MIRROR_MEAN}")


def trained_part(model: keras.Model) -> keras.Model:
    """Of a `mirror_mean` the model within, else the model itself; the weights are the same."""
    if not model.name.endswith(MIRROR_MEAN):
        return model
    return next((layer for layer in model.layers if isinstance(layer, keras.Model)), model)


def _hidden(
    x: Any, widths: Sequence[int], activation: str, dropout: float, *, batch_norm: bool = False
) -> Any:
    for width in widths:
        x = keras.layers.Dense(width)(x)
        if batch_norm:
            x = keras.layers.BatchNormalization(momentum=MOMENTUM)(x)
        x = keras.layers.Activation(activation)(x)
        x = keras.layers.Dropout(dropout)(x)
    return x


def describe(model: keras.Model) -> tuple[int, str]:
    """The number of trainable parameters, and a table of the layers.

    Raises:
        ValueError: the model has no weights yet, as it has no Input.
    """
    if not model.built:
        raise ValueError("the model is not built; begin it with keras.Input(shape)")
    # Not model.summary(): it drops columns that do not fit into the terminal.
    parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    rows = []
    for layer in model.layers:
        shape = " x ".join(str(size or "N") for size in getattr(layer.output, "shape", ()))
        rows.append(LayerRow(layer.name, type(layer).__name__, shape, layer.count_params()))
    return parameters, table(rows, parameters)
