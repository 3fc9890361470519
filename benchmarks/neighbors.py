"""A training beside two busy processes against the same one alone, in PyTorch and in Keras.

python -m benchmarks.neighbors --rounds 5
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.side_by_side import epochs_of, in_turns, said, show

EPOCHS, LIMIT, BUSY = 4, 5_000, 2
PIPELINES = ("cnn", "fashion")
AT_MOST = 3.0  # times the seconds of an epoch: on two cores, a fair share is half of them


def main(rounds: int) -> None:
    """A table for each framework."""
    for name in PIPELINES:
        seconds = in_turns(
            {
                f"beside {BUSY}": partial(_beside, name),
                "alone": partial(seconds_of_an_epoch, name),
            },
            rounds,
        )
        show(f"{name}, an epoch of {LIMIT:,} images", seconds, targets={"alone": AT_MOST})


def seconds_of_an_epoch(name: str, _round: int) -> float:
    """The median of those that a pipeline logs, but the first, in which Keras compiles."""
    flags = (f"--limit={LIMIT}", f"--epochs={EPOCHS}", "--register=false")
    with tempfile.TemporaryDirectory() as name_of_folder:
        said(folder := Path(name_of_folder), "-m", f"pipelines.{name}", *flags)
        return median(row["epoch_seconds"] for row in epochs_of(folder)[1:])


def _beside(name: str, number: int) -> float:
    with _busy():
        return seconds_of_an_epoch(name, number)


@contextmanager
def _busy() -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BUSY)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    main(parser.parse_args().rounds)
