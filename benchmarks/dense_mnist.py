"""The pipeline `dense_mnist` against a plain Keras script with autologging, as whole processes.

python -m benchmarks.dense_mnist --rounds 5
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.side_by_side import ROOT, in_turns, seconds_of_process, show
from trackml.data import load

PIPELINE = ["-m", "pipelines.dense_mnist"]
PLAIN = str(ROOT / "benchmarks" / "autolog_dense_mnist.py")


def main(rounds: int) -> None:
    """Both do the same: five epochs, test scores, a registered model; trackml's figures besides."""
    with tempfile.TemporaryDirectory() as folder:
        arrays = str(_arrays(Path(folder)))
        seconds = in_turns(
            {
                "pipeline": partial(seconds_of_process, PIPELINE),
                "autolog script": partial(seconds_of_process, [PLAIN, arrays]),
                "autolog script with pip_requirements": partial(
                    seconds_of_process, [PLAIN, arrays, "--pip_requirements"]
                ),
                "pipeline in float32": partial(
                    seconds_of_process, [*PIPELINE, "--precision", "float32"]
                ),
            },
            rounds,
        )
    show("dense_mnist, whole process", seconds, targets={"autolog script": 0.8})


def _arrays(folder: Path) -> Path:
    """MNIST as keras.datasets.mnist keeps it, which cannot be asked on every network."""
    data = load("mnist")
    parts = (data.train, data.validation)
    np.savez_compressed(
        folder / "mnist.npz",
        x_train=np.concatenate([part.images for part in parts]),
        y_train=np.concatenate([part.labels for part in parts]),
        x_test=data.test.images,
        y_test=data.test.labels,
    )
    return folder / "mnist.npz"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    main(parser.parse_args().rounds)
