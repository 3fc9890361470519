"""What it costs to keep a run on disk: `cnn` for a minute, with its journal and without.

python -m benchmarks.journal --rounds 5
"""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any
from unittest.mock import patch

import mlflow

from benchmarks.side_by_side import in_turns, show
from pipelines.cnn import Params, main
from trackml.tracking.journal import Journal

MOST = 1.02  # times what it takes without


def compare(rounds: int, epochs: int) -> None:
    """Whole runs in one process, from loading the data to the registered model."""
    params = Params.parse({"epochs": epochs})
    within: list[float] = []
    seconds = in_turns(
        {
            "with journal": partial(_run, params, lambda: _timed(within)),
            "without": partial(_run, params, _without),
        },
        rounds,
    )
    show(f"cnn, {epochs} epochs", seconds, targets={"without": MOST})
    shares = [mine / whole for mine, whole in zip(within, seconds["with journal"], strict=True)]
    print(f"within the journal: {median(shares):.2%} of the time, at most {max(shares):.2%}")


def _run(params: Params, way: Callable[[], Any], _round: int) -> float:
    with TemporaryDirectory() as folder:
        before = Path.cwd()
        os.chdir(folder)
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # a database here
        try:
            with way():
                started = perf_counter()
                main(params)
                return perf_counter() - started
        finally:
            os.chdir(before)


@contextmanager
def _without() -> Iterator[None]:
    """No checkpoints, and no facts on disk."""
    with (
        patch("trackml.tracking.run.keeping", lambda _journal: nullcontext()),
        patch.object(Journal, "keep", lambda _journal: None),
    ):
        yield


@contextmanager
def _timed(within: list[float]) -> Iterator[None]:
    """Note the seconds that checkpoints and facts take."""
    spent = 0.0

    def timed(usual: Callable[..., object]) -> Callable[..., None]:
        def run(*args: object) -> None:
            nonlocal spent
            started = perf_counter()
            usual(*args)
            spent += perf_counter() - started

        return run

    with (
        patch.object(Journal, "save", timed(Journal.save)),
        patch.object(Journal, "keep", timed(Journal.keep)),
    ):
        yield
    within.append(spent)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    given = parser.parse_args()
    compare(given.rounds, given.epochs)
