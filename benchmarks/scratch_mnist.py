"""Training epochs of `scratch_mnist`'s mlp in NumPy against PyTorch's of the same network.

python -m benchmarks.scratch_mnist --rounds 11
"""

import argparse
from functools import partial
from time import perf_counter

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.arithmetic import dense_flops, print_share
from benchmarks.side_by_side import in_turns, show
from pipelines.scratch_mnist import Params
from trackml.data import ImageData, load
from trackml.models.mlp import scaled
from trackml.models.numpy import dense_network
from trackml.params import parse_widths
from trackml.training.numpy import SGD, fit

OF_TORCH = 1.3  # times its seconds


def main(rounds: int) -> None:
    """Both without momentum, and both with."""
    data = load("mnist")
    x, target = torch.tensor(scaled(data.train.images)), torch.tensor(data.train.labels)
    for momentum in (0.0, 0.9):
        params = Params.parse({"epochs": 1, "model": "mlp", "momentum": momentum})
        seconds = in_turns(
            {
                "scratch_mnist": partial(_numpy, data, params),
                "torch": partial(_torch, x, target, params),
            },
            rounds,
        )
        (units,) = parse_widths(params.hidden_units)
        title = f"mlp of {units} units, one epoch of {len(x):,} images, momentum {momentum}"
        show(title, seconds, targets={"torch": OF_TORCH})
        rate = len(x) / min(seconds["scratch_mnist"])
        print_share("scratch_mnist", dense_flops(784, units, 10), rate, "float32")


def _numpy(data: ImageData, params: Params, _round: int) -> float:
    """As the pipeline trains: the seconds of its training, by the metric that it logs."""
    (units,) = parse_widths(params.hidden_units)
    network = dense_network(784, (units,), classes=10, random=np.random.default_rng(0))
    history = fit(network, data, params, optimizer=SGD(network, params.momentum))
    return len(data.train) / history.rows[0]["samples_per_second"]


def _torch(x: torch.Tensor, target: torch.Tensor, params: Params, _round: int) -> float:
    """The fastest that we know: floats that stay in memory, no loader, fused steps, no scores."""
    (units,) = parse_widths(params.hidden_units)
    network = nn.Sequential(nn.Linear(784, units), nn.ReLU(inplace=True), nn.Linear(units, 10))
    optimizer = torch.optim.SGD(
        network.parameters(), lr=params.learning_rate, momentum=params.momentum, fused=True
    )
    started = perf_counter()
    order = torch.randperm(len(x))
    for first in range(0, len(x), params.batch_size):
        rows = order[first : first + params.batch_size]
        cross_entropy(network(x[rows]), target[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    return perf_counter() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    main(parser.parse_args().rounds)
