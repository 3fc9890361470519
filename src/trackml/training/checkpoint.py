"""Checkpoints: everything that training needs to continue as if it had never stopped."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trackml.errors import TrackmlError, one_line
from trackml.files import replace_file

Array = NDArray[Any]
_RECORD = "record"  # the file's JSON member; names of arrays contain a slash


@dataclass(frozen=True)
class Checkpoint:
    """The state of training after an epoch."""

    state: Mapping[str, Array]  # of the learner: weights and the optimizer's state
    best_weights: Sequence[Array]  # of the best epoch so far; empty before the first
    rows: Sequence[Mapping[str, float]]  # of the history
    initial: Mapping[str, float]  # of the history


TakeCheckpoint = Callable[[], Checkpoint]
"""Copies the state of a training; called only where the checkpoint is kept."""


def write(path: Path, checkpoint: Checkpoint, times: Mapping[int, int]) -> None:
    """Write a checkpoint and the times of its epochs, in milliseconds, to a file.

    Raises:
        OSError: the file cannot be written; the old one is intact.
    """
    record = {"rows": [*checkpoint.rows], "initial": checkpoint.initial, "times": times}
    arrays = {f"state/{name}": value for name, value in checkpoint.state.items()}
    arrays |= {f"best/{number}": value for number, value in enumerate(checkpoint.best_weights)}
    arrays[_RECORD] = np.frombuffer(json.dumps(record).encode(), np.uint8)
    replace_file(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def read(path: Path) -> tuple[Checkpoint, dict[int, int]]:
    """The checkpoint and the times in a file of `write`.

    Raises:
        TrackmlError: the file is damaged.
    """
    try:
        # Opened here, because np.load does not close a file that it cannot read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            record = json.loads(bytes(arrays[_RECORD]))
            states = [name for name in arrays if name.startswith("state/")]
            state = {name.removeprefix("state/"): arrays[name] for name in states}
            count = sum(name.startswith("best/") for name in arrays)
            best = [arrays[f"best/{number}"] for number in range(count)]
        times = {int(epoch): time for epoch, time in record["times"].items()}
        return Checkpoint(state, best, record["rows"], record["initial"]), times
    except Exception as error:  # noqa: BLE001  # a damaged file can raise anything
        raise TrackmlError(
            f"cannot read the checkpoint {path} ({one_line(error)}); restore the file, or start "
            "again without --resume"
        ) from None
