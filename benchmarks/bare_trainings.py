"""The trainings of `cnn_suite` and nothing else: the other side of a benchmark.

Each on all processor cores, one after another; no validation, no test, no tracking.
"""

import argparse
from itertools import product

import torch
from torch.nn.functional import cross_entropy

from pipelines.cnn import VARIANTS
from pipelines.cnn_suite import OPTIMIZERS as COMPARED
from trackml.data import load
from trackml.models.torch import mnist_cnn
from trackml.training.precision import cpu_computes_in_bfloat16
from trackml.training.torch import OPTIMIZERS

BATCH = 64


def main(epochs: int) -> None:
    """Train each variant with each optimiser, as fast as `cnn` does."""
    images, labels = (torch.tensor(array) for array in load("mnist").train.arrays)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=cpu_computes_in_bfloat16())
    for variant, name in product(VARIANTS, COMPARED):
        dropout = 0.3 if "dropout" in variant else 0.0
        network = mnist_cnn(10, dropout=dropout, batch_norm="batchnorm" in variant)
        network.to(memory_format=torch.channels_last)
        optimizer = OPTIMIZERS[name](network.parameters())
        network.train()
        for _ in range(epochs):
            for rows in torch.randperm(len(labels)).split(BATCH):  # type: ignore[no-untyped-call]
                with autocast:
                    logits = network(images[rows])
                cross_entropy(logits.float(), labels[rows]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                optimizer.zero_grad()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=3)
    main(parser.parse_args().epochs)
