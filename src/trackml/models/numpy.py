"""NumPy architectures. Preprocessing is part of them: their input is raw."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from trackml.models.mlp import Layer, Network
from trackml.models.summary import LayerRow, table


def dense_network(
    inputs: int, widths: Sequence[int], *, classes: int, random: np.random.Generator
) -> Network:
    """A network of random float32 weights, for `trackml.models.mlp`.

    Weights are normally distributed with variance 2 / (number of inputs) before a ReLU
    (He et al., 2015), 1 / (number of inputs) in the last layer; biases are 0.

    Args:
        inputs: pixels of an image.
        widths: units of each hidden layer; without any it is softmax regression.
    """
    gains = [2.0] * len(widths) + [1.0]
    return tuple(
        Layer(
            W=random.normal(0, np.sqrt(gain / before), (after, before)).astype(np.float32),
            b=np.zeros(after, np.float32),
        )
        for gain, (before, after) in zip(gains, pairwise([inputs, *widths, classes]), strict=True)
    )


def describe(network: Network) -> tuple[int, str]:
    """The number of trainable parameters, and a table of the layers."""
    kinds = {f"hidden{n}": "ReLU(W·x + b)" for n in range(1, len(network))} | {"scores": "W·x + b"}
    rows = [LayerRow("scaled", "pixels / 255", f"N x {network[0].W.shape[1]}", 0)]
    for (name, kind), layer in zip(kinds.items(), network, strict=True):
        rows.append(LayerRow(name, kind, f"N x {len(layer.b)}", layer.W.size + layer.b.size))
    rows.append(LayerRow("probabilities", "softmax", f"N x {len(network[-1].b)}", 0))
    trainable = sum(row.parameters for row in rows)
    return trainable, table(rows, trainable)
