"""The cross-entropy of a dense network and its gradients, written out.

docs/backpropagation.md derives each line, in the same names. A batch has B rows of D numbers, of
C classes; dX is the derivative of the batch's loss with respect to X, for any X.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trackml.models.mlp import Array, Layer, Network, forward, softmax

Labels = NDArray[np.integer[Any]]
Gradients = tuple[Layer, ...]
"""dW and db of each layer, in the places of its W and b."""


def cross_entropy(z: Array, target: Labels) -> Array:
    """-log softmax(z)[target] of each row, in nats: (B,).

    It takes no logarithm of a probability, which may have been rounded to 0: it is finite for all
    scores whose differences are.

    Args:
        z: scores (B, C).
        target: index of each row's class (B,).
    """
    shifted = z - z.max(axis=1, keepdims=True)  # (B, C), at most 0
    of_target = shifted[np.arange(len(target)), target]  # (B,)
    losses: Array = np.log(np.exp(shifted).sum(axis=1)) - of_target  # (B,)
    return losses


def backpropagate(
    network: Network, x: Array, target: Labels, weight_decay: float = 0.0
) -> tuple[Array, Gradients]:
    """The scores (B, C) of a batch, and the gradients of its loss.

    The loss is the mean cross-entropy and an L2 penalty, weight_decay / 2 times the sum of the
    squares of all elements of all W; biases are free.

    Args:
        x: rows (B, D).
        target: index of each row's class (B,).
        weight_decay: factor of the penalty.
    """
    a, z = forward(network, x)
    dz = softmax(z)  # (B, C)
    dz[np.arange(len(target)), target] -= 1
    dz /= len(target)
    gradients: list[Layer] = []
    for n in reversed(range(len(network))):
        W = network[n].W  # (outputs, inputs)
        dW = dz.T @ a[n]  # (outputs, B) (B, inputs): the outer products of all rows, summed
        if weight_decay:
            dW += weight_decay * W
        gradients.append(Layer(dW, dz.sum(axis=0)))  # db: (outputs,)
        if n:  # nobody asks for that of the pixels
            da = dz @ W  # (B, outputs) (outputs, inputs) = (B, inputs)
            dz = da * (a[n] > 0)  # the slope of the ReLU behind the layer before
    return z, tuple(reversed(gradients))
