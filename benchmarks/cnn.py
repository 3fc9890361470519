"""Training epochs of `cnn` against the usual loop, and against its bare step on one batch.

python -m benchmarks.cnn --rounds 7
"""

import argparse
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from itertools import repeat
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchvision.transforms import Compose, Normalize, ToTensor

from benchmarks.arithmetic import print_share, torch_flops
from benchmarks.side_by_side import in_turns, show
from pipelines.cnn import Params
from trackml.data import ImageData, datasets, load
from trackml.data.cache import fetch
from trackml.models.torch import MNIST_MEAN, MNIST_STD, mnist_cnn
from trackml.params import Precision
from trackml.training.precision import cpu_computes_in_bfloat16
from trackml.training.torch import OPTIMIZERS, fit

BATCH = 64
FASTER: dict[Precision, float] = {"bfloat16": 2.3, "float32": 2.0}  # than the usual loop
OF_BARE = 0.95  # of the samples per second of the bare step


def main(rounds: int) -> None:
    """A table for each arithmetic that this processor has."""
    data = load("mnist")
    with tempfile.TemporaryDirectory() as folder:
        loader = _usual_loader(Path(folder), len(data.train))
        for precision, faster in FASTER.items():
            if precision == "bfloat16" and not cpu_computes_in_bfloat16():
                print("this processor does not compute in bfloat16")
                continue
            seconds = in_turns(
                {
                    "cnn": partial(_pipeline, data, precision),
                    "usual loop": partial(_usual, loader),
                    "bare step": partial(_bare, data, precision),
                },
                rounds,
            )
            title = f"cnn in {precision}, one epoch of {len(data.train):,} images"
            show(title, seconds, targets={"usual loop": 1 / faster, "bare step": 1 / OF_BARE})
            images, labels = (torch.tensor(array[:BATCH]) for array in data.train.arrays)
            flops = torch_flops(mnist_cnn(10), images, labels)
            print_share("cnn", flops, len(data.train) / min(seconds["cnn"]), precision)


def _pipeline(data: ImageData, precision: Precision, number: int) -> float:
    """As `cnn` trains: the seconds of its training, by the metric that it logs."""
    params = Params.parse(
        {"epochs": 1, "seed": number, "precision": precision, "batch_size": BATCH, "device": "cpu"}
    )
    network = mnist_cnn(10)
    adam = OPTIMIZERS["adam"](network.parameters())
    (row,) = fit(network, data, params, optimizer=adam).rows
    return len(data.train) / row["samples_per_second"]


def _usual(loader: Iterable[tuple[Tensor, Tensor]], _round: int) -> float:
    """As tutorials do it: float32, images decoded and normalized one by one, when needed."""
    layers = list(mnist_cnn(10))[1:]  # the loader standardizes
    for pool in (1, 4):  # tutorials have a ReLU before it, where `mnist_cnn` has it behind
        layers[pool], layers[pool + 1] = layers[pool + 1], layers[pool]
    network = nn.Sequential(*layers)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
    network.train()

    def step(images: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        loss = cross_entropy(network(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return _timed(step, loader)


def _bare(data: ImageData, precision: Precision, _round: int) -> float:
    """The pipeline's step on one batch, again and again: all that an epoch must compute."""
    network = mnist_cnn(10).to(memory_format=torch.channels_last)
    optimizer = OPTIMIZERS["adam"](network.parameters())
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")
    network.train()
    batch = tuple(torch.tensor(array[:BATCH]) for array in data.train.arrays)

    def step(images: Tensor, labels: Tensor) -> None:
        with autocast:
            logits = network(images)
        cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    # 54,000 images are 843.75 batches.
    steps = len(data.train) // BATCH
    return _timed(step, repeat(batch, steps)) * len(data.train) / (steps * BATCH)


def _timed(step: Callable[..., None], batches: Iterable[Any]) -> float:
    started = perf_counter()
    for batch in batches:
        step(*batch)
    return perf_counter() - started


def _usual_loader(folder: Path, samples: int) -> Iterable[tuple[Tensor, Tensor]]:
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    dataset = datasets.find("mnist")
    for file, content in zip(dataset.files, fetch(dataset)[0], strict=True):
        (raw / file.name).write_bytes(content)
    transform = Compose([ToTensor(), Normalize((MNIST_MEAN,), (MNIST_STD,))])
    images = torchvision.datasets.MNIST(str(folder), train=True, transform=transform)
    train = torch.utils.data.Subset(images, range(samples))
    return torch.utils.data.DataLoader(train, batch_size=BATCH, shuffle=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    main(parser.parse_args().rounds)
