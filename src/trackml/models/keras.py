"""Keras architectures. Preprocessing lives inside them: they take what a user has, raw."""

import math

from trackml.tensorflow import keras


def fashion_cnn(classes: int = 10, dropout: float = 0.3) -> keras.Model:
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


def describe(model: keras.Model) -> tuple[int, str]:
    """The number of trainable parameters, and a table of the layers.

    Raises:
        ValueError: the model has no weights yet, as it has no Input.
    """
    if not model.built:
        raise ValueError("the model is not built; begin it with keras.Input(shape)")
    # Not model.summary(): it drops columns that do not fit the terminal that happens to be there.
    parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    rows = [("layer", "type", "output", "parameters")]
    for layer in model.layers:
        shape = " x ".join(str(size or "N") for size in getattr(layer.output, "shape", ()))
        rows.append((layer.name, type(layer).__name__, shape, f"{layer.count_params():,}"))
    rows.append(("trainable", "", "", f"{parameters:,}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([*map(str.ljust, row[:-1], widths), row[-1].rjust(widths[-1])]) for row in rows
    ]
    return parameters, "\n".join([*lines, ""])
