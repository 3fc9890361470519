"""Training epochs of `fashion` against plain `model.fit`, and augmented against Keras's generator.

Each in a process of its own, as both choose settings of TensorFlow that a process has once.

python -m benchmarks.fashion --rounds 5
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.arithmetic import keras_flops, print_share
from benchmarks.side_by_side import ROOT, epochs_of, in_turns, said, show
from trackml.models.keras import fashion_cnn
from trackml.params import Precision
from trackml.training.precision import cpu_computes_in_bfloat16

OF_FIT, OF_GENERATOR = 0.8, 0.6  # of the seconds of the other
EPOCHS = 3  # of which the first, in which Keras compiles, does not count


def main(rounds: int, images: int) -> None:
    """Two tables for each arithmetic that this processor has; plain Keras is always in float32."""
    precisions: list[Precision] = ["float32"]
    if cpu_computes_in_bfloat16():
        precisions.append("bfloat16")
    for precision in precisions:
        title = f"in {precision}, an epoch of {images:,} images"
        documented = ("--augment=true", "--augment_policy=documented")
        seconds = in_turns(
            {
                "fashion": partial(_pipeline, images, precision, ()),
                "model.fit": partial(_plain, images, ()),
                "fashion_aug": partial(_pipeline, images, precision, documented),
                "generator": partial(_plain, images, ("--augment",)),
            },
            rounds,
        )
        for ours, other, target in (
            ("fashion", "model.fit", OF_FIT),
            ("fashion_aug", "generator", OF_GENERATOR),
        ):
            shown = {name: seconds[name] for name in (ours, other)}
            show(f"{ours} {title}", shown, targets={other: target})
        rate = images / min(seconds["fashion"])
        print_share("fashion", keras_flops(fashion_cnn(10, 0.3)), rate, precision)


def _pipeline(images: int, precision: Precision, flags: tuple[str, ...], number: int) -> float:
    """As `fashion` trains, without the average of its weights, which the others do not have."""
    with tempfile.TemporaryDirectory() as folder:
        given = (
            "--ema_decay=0",
            "--register=false",
            f"--precision={precision}",
            f"--seed={number}",
        )
        amount = (f"--limit={images}", f"--epochs={EPOCHS}")
        said(Path(folder), "-m", "pipelines.fashion", *given, *amount, *flags)
        rows = epochs_of(Path(folder))
        return min(images / row["samples_per_second"] for row in rows[1:])


def _plain(images: int, flags: tuple[str, ...], _round: int) -> float:
    amount = (f"--images={images}", f"--epochs={EPOCHS}")
    return float(said(ROOT, "-m", "benchmarks.plain_fashion", *amount, *flags).split()[-1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=10_000)
    given = parser.parse_args()
    main(given.rounds, given.images)
