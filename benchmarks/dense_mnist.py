"""The pipeline `dense_mnist` against a plain Keras script with autologging, as whole processes.

python -m benchmarks.dense_mnist --rounds 5
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.side_by_side import in_turns, show
from trackml.data import load

ROOT = Path(__file__).parents[1]
PIPELINE = ["-m", "pipelines.dense_mnist"]
PLAIN = str(ROOT / "benchmarks" / "autolog_dense_mnist.py")


def main(rounds: int) -> None:
    """Both do the same: five epochs, test scores, a registered model; trackml's figures besides."""
    with tempfile.TemporaryDirectory() as folder:
        arrays = str(_arrays(Path(folder)))
        seconds = in_turns(
            {
                "pipeline": partial(_process, PIPELINE),
                "autolog script": partial(_process, [PLAIN, arrays]),
                "autolog script with pip_requirements": partial(
                    _process, [PLAIN, arrays, "--pip_requirements"]
                ),
                "pipeline in float32": partial(_process, [*PIPELINE, "--precision", "float32"]),
            },
            rounds,
        )
    show("dense_mnist, whole process", seconds, targets={"autolog script": 0.8})


def _process(command: Sequence[str], _round: int) -> float:
    """Seconds that a Python program takes in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        # Nobody's own store: both ways make a database of their own.
        kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
        started = perf_counter()
        done = subprocess.run(
            [sys.executable, *command],
            cwd=folder,
            env=kept | {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        seconds = perf_counter() - started
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}")
        return seconds


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
