"""What share of this machine's arithmetic a training reaches.

The limit is the fastest product of two square matrices in PyTorch. A network's arithmetic is that
of its convolutions and dense layers, forward and backward.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from trackml.params import Precision

SIDE, PRODUCTS = 2048, 5  # of the matrices; of which the fastest counts
TYPES: Mapping[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def print_share(name: str, flops: float, rate: float, precision: Precision) -> None:
    """Print the share of the limit of a network that needs so many operations for an example.

    The limit is measured now, not in turns with the training.

    Args:
        rate: examples a second.
    """
    share = flops * rate * limit(precision)
    print(f"{name} reaches {share:.0%} of this machine's matrix products in {precision}")


def limit(precision: Precision, _round: int = 0) -> float:
    """The seconds of one operation on two numbers, in the fastest of a few matrix products."""
    left, right = (torch.randn(SIDE, SIDE).to(TYPES[precision]) for _ in range(2))
    seconds = []
    for _ in range(PRODUCTS):
        begun = perf_counter()
        left @ right
        seconds.append(perf_counter() - begun)
    return min(seconds) / (2 * SIDE**3)


def torch_flops(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The operations for each of the images, as PyTorch counts them."""
    with FlopCounterMode(display=False) as counter:
        cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]
    return float(counter.get_total_flops()) / len(images)


def keras_flops(model: Any) -> float:
    """The operations for an example: each product is made once forward and twice backward.

    The first layer with weights needs no gradient of its inputs.
    """
    from trackml.backends import keras  # here, as it makes benchmarks of PyTorch slower

    forward = [
        2 * math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1])
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)
    ]
    return float(3 * sum(forward) - forward[0])


def dense_flops(*units: int) -> float:
    """The same for dense layers of so many units, of which the first are the inputs."""
    forward = [2 * inputs * outputs for inputs, outputs in pairwise(units)]
    return float(3 * sum(forward) - forward[0])
