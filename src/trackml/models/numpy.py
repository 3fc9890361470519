"""NumPy architectures. Preprocessing lives inside them: they take what a user has, raw."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from trackml.models.mlp import Layer, Network
from trackml.models.summary import Layer as Row
from trackml.models.summary import table


def dense_network(
    inputs: int, widths: Sequence[int], *, classes: int, random: np.random.Generator
) -> Network:
    """A network of random float32 weights, for `trackml.models.mlp`.

    Weights are drawn from a normal distribution of variance 2 / (number of inputs) before a ReLU
    (He et al., 2015), 1 / (number of inputs) in the last layer; biases are 0.

    Args:
        inputs: pixels of an image.
        widths: units of each hidden layer; none makes it softmax regression.
        random: where the weights are drawn from.
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
    *hidden, last = network
    rows = [Row("scaled", "pixels / 255", f"N x {network[0].W.shape[1]}", 0)]
    rows += [_row(f"hidden{n}", "ReLU(W·x + b)", layer) for n, layer in enumerate(hidden, start=1)]
    rows += [
        _row("scores", "W·x + b", last),
        Row("probabilities", "softmax", f"N x {len(last.b)}", 0),
    ]
    trainable = sum(row.parameters for row in rows)
    return trainable, table(rows, trainable)


def _row(name: str, kind: str, layer: Layer) -> Row:
    return Row(name, kind, f"N x {len(layer.b)}", layer.W.size + layer.b.size)
