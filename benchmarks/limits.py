"""What share of this machine's arithmetic the training of each network reaches.

The bare step trains on one batch again and again; the epoch is what `fit` does with all images,
with the pipeline's own options, the second one, as in the first Keras compiles.

python -m benchmarks.limits --rounds 5 --images 6000
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.arithmetic import TYPES, keras_flops, limit, torch_flops
from benchmarks.side_by_side import in_turns, machine
from pipelines import cnn, dense_mnist, fashion, fashion_best
from trackml.backends import keep_triton_out, keras, tf
from trackml.data import ImageData, load
from trackml.models.keras import dense_classifier, fashion_cnn
from trackml.models.residual import residual_network
from trackml.models.torch import mnist_cnn
from trackml.params import Precision
from trackml.training import keras as keras_training, torch as torch_training
from trackml.training.keras_steps import LOSSES
from trackml.training.objectives import CLASSIFICATION
from trackml.training.precision import cpu_computes_in_bfloat16
from trackml.training.torch_convolutions import fast_convolutions

STEPS = 50  # bare ones in each round


@dataclass(frozen=True)
class Network:
    """How a pipeline trains: `bare` and `epoch` are seconds for an image, in a round."""

    name: str
    flops: float
    bare: Callable[[int], float]
    epoch: Callable[[int], float]


def main(rounds: int, images: int) -> None:
    """A table for each arithmetic that this processor has."""
    for precision in TYPES:
        if precision == "bfloat16" and not cpu_computes_in_bfloat16():
            print("this processor does not compute in bfloat16")
            continue
        networks = [*_in_torch(precision, images), *_in_keras(precision, images)]
        ways: dict[str, Callable[[int], float]] = {"limit": partial(limit, precision)}
        for each in networks:
            ways |= {f"{each.name} bare": each.bare, f"{each.name} epoch": each.epoch}
        seconds = {name: median(all_) for name, all_ in in_turns(ways, rounds).items()}
        per_second = 1 / seconds["limit"]
        title = f"{precision}: {per_second / 1e9:.0f} GFLOP/s in matrix products"
        table = Table(
            "network", "MFLOP/image", "way", "images/s", "share of the limit", title=title
        )
        for each in networks:
            for way in ("bare", "epoch"):
                rate = 1 / seconds[f"{each.name} {way}"]
                share = each.flops * rate / per_second
                row = f"{each.flops / 1e6:.1f}", way, f"{rate:,.0f}", f"{share:.0%}"
                table.add_row(each.name, *row)
        Console(width=100).print(table)
    print(f"medians of {rounds} rounds in turns; {images:,} images an epoch; {machine()}")


def _in_torch(precision: Precision, count: int) -> list[Network]:
    mnist, fashion_mnist = (load(name, limit=count) for name in ("mnist", "fashion_mnist"))
    of_cnn: dict[str, Any] = {"augment": cnn.Params.parse({}).augmentation}
    of_best: dict[str, Any] = {
        "augment": fashion_best.Params.parse({}).augmentation,
        "ema_decay": 0.999,
    }
    return [
        _of_torch("cnn", partial(mnist_cnn, 10), mnist, cnn.Params, precision, {}),
        _of_torch("cnn, augmented", partial(mnist_cnn, 10), mnist, cnn.Params, precision, of_cnn),
        _of_torch(
            "fashion_best",
            partial(residual_network, 10, dropout=0.1),
            *(fashion_mnist, fashion_best.Params, precision, of_best),
        ),
    ]


def _of_torch(
    name: str,
    build: Callable[[], nn.Module],
    data: ImageData,
    params: Any,
    precision: Precision,
    options: Mapping[str, Any],
) -> Network:
    given = params.parse({"epochs": 2, "precision": precision, "device": "cpu"})
    images, labels = (torch.tensor(array[: given.batch_size]) for array in data.train.arrays)

    def bare(_round: int) -> float:
        network = build().to(memory_format=torch.channels_last).train()
        optimizer = torch_training.OPTIMIZERS["adam"](network.parameters())
        autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")

        def step() -> None:
            with autocast:
                logits = network(images)
            cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()

        with fast_convolutions(network, "cpu", precision):
            return _seconds(step) / len(images)

    def epoch(number: int) -> float:
        network = build()
        adam = torch_training.OPTIMIZERS["adam"](network.parameters())
        seeded = given.model_copy(update={"seed": number})
        rows = torch_training.fit(network, data, seeded, optimizer=adam, **options).rows
        return 1 / rows[-1]["samples_per_second"]

    return Network(name, torch_flops(build(), images, labels), bare, epoch)


def _in_keras(precision: Precision, count: int) -> list[Network]:
    mnist, fashion_mnist = (load(name, limit=count) for name in ("mnist", "fashion_mnist"))
    parsed = fashion.Params.parse({"augment": True})
    augmented: dict[str, Any] = {"augment": parsed.augmentation}
    build, average = partial(fashion_cnn, 10, 0.3), {"ema_decay": parsed.ema_decay}
    dense = partial(dense_classifier, (512,), classes=10)
    return [
        _of_keras("dense_mnist", dense, mnist, dense_mnist.Params, precision, {}),
        _of_keras("fashion", build, fashion_mnist, fashion.Params, precision, average),
        _of_keras(
            *("fashion_aug", build, fashion_mnist, fashion.Params, precision), average | augmented
        ),
    ]


def _of_keras(
    name: str,
    build: Callable[[], Any],
    data: ImageData,
    params: Any,
    precision: Precision,
    options: Mapping[str, Any],
) -> Network:
    given = params.parse({"epochs": 2, "precision": precision})
    images, labels = (tf.constant(array[: given.batch_size]) for array in data.train.arrays)

    def bare(_round: int) -> float:
        network = keras_training.copy_in(build(), precision)
        network.compile("adam", LOSSES[CLASSIFICATION.name])
        network.optimizer.build(network.trainable_variables)
        step = tf.function(lambda: network.train_step((images, labels)), autograph=False)
        return _seconds(step) / len(images)

    def epoch(number: int) -> float:
        adam, seeded = keras.optimizers.Adam(), given.model_copy(update={"seed": number})
        rows = keras_training.fit(build(), data, seeded, optimizer=adam, **options).rows
        return 1 / float(rows[-1]["samples_per_second"])

    return Network(name, keras_flops(build()), bare, epoch)


def _seconds(step: Callable[[], object]) -> float:
    """Of a step, after a few to warm up."""
    for _ in range(5):
        step()
    begun = perf_counter()
    for _ in range(STEPS):
        step()
    return (perf_counter() - begun) / STEPS


if __name__ == "__main__":
    keep_triton_out()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=6000, help="in an epoch")
    given = parser.parse_args()
    main(given.rounds, given.images)
