"""The multilayer perceptron (MLP) in NumPy alone; without hidden layers, softmax regression.

A copy of this file travels with each registered model of `scratch_mnist`, so that it loads where
trackml is not installed: it imports nothing of trackml, and has the `restore` and `predict` of
served/model.py. docs/backpropagation.md derives the gradients, in the names that are used here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BATCH = 1_000  # images at a time, to predict


@dataclass(frozen=True)
class Layer:
    """W (outputs, inputs) and b (outputs,): z = W·x + b. Training changes them in place."""

    W: Array
    b: Array


Network = tuple[Layer, ...]
"""Hidden layers, each followed by a ReLU, and a last one: a score (logit) per class."""


def scaled(pixels: Array) -> NDArray[np.float32]:
    """Raw pixels, from 0 to 255: (N, H, W) → the input of a network, (N, H * W), from 0 to 1."""
    return np.multiply(pixels.reshape(len(pixels), -1), np.float32(1 / 255), dtype=np.float32)


def forward(network: Network, x: Array) -> tuple[list[Array], Array]:
    """The class scores of rows x (B, D), and the inputs of all layers.

    Returns:
        a: the input of each layer, a[0] = x (B, D), then the outputs of each ReLU (B, H).
        z: the scores (B, C).
    """
    a, z = [x], _linear(network[0], x)
    for layer in network[1:]:
        a.append(np.maximum(z, 0))  # (B, H)
        z = _linear(layer, a[-1])
    return a, z


def softmax(z: Array) -> Array:
    """Scores (B, C) → probabilities (B, C): exp(z) divided by its row's sum."""
    # Subtracting the row's highest score changes no probability, and nothing overflows.
    p: Array = np.exp(z - z.max(axis=1, keepdims=True))  # (B, C), from 0 to 1
    p /= p.sum(axis=1, keepdims=True)
    return p


def predict(network: Network, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Raw pixels, uint8 (N, H, W) → class probabilities, float32 (N, C)."""
    p = np.empty((len(images), len(network[-1].b)), np.float32)
    for first in range(0, len(images), BATCH):
        rows = slice(first, first + BATCH)
        # Weights that overflow give nan, without a warning or an error.
        with np.errstate(all="ignore"):
            _, z = forward(network, scaled(images[rows]))
            p[rows] = softmax(z)
    return p


def arrays(network: Network) -> dict[str, Array]:
    """The weights of all layers by name, as `restore` takes them: W1, b1, W2, ..."""
    return {
        f"{name}{number}": array
        for number, layer in enumerate(network, start=1)
        for name, array in vars(layer).items()
    }


def restore(weights: Mapping[str, Array]) -> Network:
    """The network with these `arrays`."""
    numbers = range(1, len(weights) // 2 + 1)
    return tuple(Layer(weights[f"W{number}"], weights[f"b{number}"]) for number in numbers)


def _linear(layer: Layer, x: Array) -> Array:
    z: Array = x @ layer.W.T  # (B, D) (D, outputs) = (B, outputs)
    z += layer.b
    return z
