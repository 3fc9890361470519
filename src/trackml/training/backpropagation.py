"""The cross-entropy of a dense network and its gradients, written out.

docs/backpropagation.md derives each line, with the same names. A batch has B rows of D numbers and
C classes; dX is the derivative of the batch's loss with respect to X, for any X.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trackml.models.mlp import Array, Layer, Network, forward, softmax

Labels = NDArray[np.integer[Any]]
Gradients = tuple[Layer, ...]
"""dW and db of each layer, in the places of its W and b."""


def targets_of(
    labels: Labels, classes: int, label_smoothing: float = 0.0, dtype: Any = np.float32
) -> Array:
    """The target of each class, shares whose sum is 1: (B, C).

    >>> targets_of(np.array([1, 0]), classes=2, label_smoothing=0.5)
    array([[0.25, 0.75],
           [0.75, 0.25]], dtype=float32)

    Args:
        labels: class of each row, an index (B,).
        label_smoothing: share that is spread evenly over all classes, from 0 to below 1.
    """
    y = np.full((len(labels), classes), label_smoothing / classes, dtype)
    y[np.arange(len(labels)), labels] += 1 - label_smoothing
    return y


def cross_entropy(z: Array, y: Array) -> Array:
    """-(y · log softmax(z)) of each row, in nats: (B,).

    It never takes the logarithm of a probability, which may have been rounded to 0, so it is finite
    for all scores whose differences are.

    Args:
        z: scores (B, C).
        y: targets (B, C), shares whose sum is 1.

    >>> cross_entropy(np.array([[0.0, 0.0], [1e4, -1e4]]), np.eye(2)).round(4)
    array([6.931e-01, 2.000e+04])
    """
    shifted = z - z.max(axis=1, keepdims=True)  # (B, C), at most 0
    losses: Array = np.log(np.exp(shifted).sum(axis=1)) - (y * shifted).sum(axis=1)  # (B,)
    return losses


def backpropagate(
    network: Network,
    x: Array,
    y: Array,
    weight_decay: float = 0.0,
    *,
    row_weights: Array | None = None,
    clip_norm: float = 0.0,
) -> tuple[Array, Gradients]:
    """The scores (B, C) of a batch, and the gradients of its loss.

    The loss is the mean cross-entropy plus an L2 penalty: weight_decay / 2 times the sum of the
    squares of all elements of all W. The penalty does not include biases.

    Args:
        x: rows (B, D).
        y: targets (B, C), as in `cross_entropy`.
        row_weights: of each row's cross-entropy in the mean, (B,); None = all 1.
        clip_norm: maximum norm of all gradients together, without those of the penalty; 0 = none.
    """
    a, z = forward(network, x)
    dz = softmax(z) - y  # (B, C)
    if row_weights is not None:
        dz *= row_weights[:, np.newaxis]
    dz /= len(y)
    gradients: list[Layer] = []
    for n in reversed(range(len(network))):
        W = network[n].W  # (outputs, inputs)
        dW = dz.T @ a[n]  # (outputs, B) (B, inputs): the sum of the outer products of all rows
        gradients.append(Layer(dW, dz.sum(axis=0)))  # db: (outputs,)
        if n:  # the gradient of the pixels is not needed
            da = dz @ W  # (B, outputs) (outputs, inputs) = (B, inputs)
            dz = da * (a[n] > 0)  # the slope of the ReLU after the layer before
    if clip_norm:
        clip(gradients, clip_norm)
    gradients.reverse()
    if weight_decay:
        for layer, gradient in zip(network, gradients, strict=True):
            dW = gradient.W
            dW += weight_decay * layer.W
    return z, tuple(gradients)


def clip(gradients: Sequence[Layer], norm: float) -> None:
    """Scale gradients down in place to this norm of all together, if theirs is larger."""
    arrays = [array for layer in gradients for array in (layer.W, layer.b)]
    # In float64: the square of a large gradient overflows float32.
    own = np.sqrt(sum(np.square(array, dtype=np.float64).sum() for array in arrays))
    if own > norm:
        for array in arrays:
            np.multiply(array, norm / own, out=array)
