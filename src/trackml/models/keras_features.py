"""`models/features.py` as a part of a Keras model: built-in layers with frozen constants."""

from collections.abc import Sequence
from typing import Any

from trackml.backends import keras, standard_settings
from trackml.models.features import Array, Constants, Features, columns


@standard_settings()
def with_features(model: keras.Model, features: Features, names: Sequence[str]) -> keras.Model:
    """A model of computed columns, float32 (N, M), as one of the raw columns, float32 (N, D).

    >>> import numpy as np
    >>> from trackml.training.features import measure
    >>> x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    >>> features, computed = measure("piecewise", x, x[:, 0], ["a", "b", "c"])
    >>> model = keras.Sequential([keras.Input((computed.shape[1],)), keras.layers.Dense(1)])
    >>> with_features(model, features, ["a", "b", "c"]).input_shape, computed.shape
    ((None, 3), (40, 72))

    Args:
        names: of the raw columns, in order.
    """
    if not features.constants:
        return model
    raw = keras.Input((len(names),), name="features")
    computed = columns(_Graph(features.constants), features.constants, raw)
    return keras.Model(raw, model(computed), name=f"{model.name}_with_features")


class _Graph:
    """`Arithmetic` in layers: large constants are weights of them, and not of the configuration."""

    xp = keras.ops

    def __init__(self, constants: Constants) -> None:
        self._constants = constants

    def product(self, x: Any, name: str) -> Any:
        kernel, bias = (self._constants[f"{name}_{part}"] for part in ("kernel", "bias"))
        return _frozen(keras.layers.Dense(len(bias), name=name), x, kernel, bias)

    def rows(self, indices: Any, name: str) -> Any:
        rows = self._constants[f"{name}_rows"]
        return _frozen(keras.layers.Embedding(*rows.shape, name=f"{name}_rows"), indices, rows)

    def smallest(self, values: Any, count: int) -> Any:
        return keras.ops.top_k(-values, count)[1]  # of equal ones, TensorFlow has the lower first


def _frozen(layer: keras.Layer, inputs: Any, *weights: Array) -> Any:
    layer.trainable = False
    outputs = layer(inputs)
    layer.set_weights(weights)
    return outputs
