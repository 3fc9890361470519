"""Checkpoints: all that an epoch loop needs to go on as if it had never stopped."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from trackml.errors import TrackmlError, one_line

Array = NDArray[Any]
_RECORD = "record"  # the member of the file that is JSON; arrays have names with a slash


@dataclass(frozen=True)
class Checkpoint:
    """The state of training after an epoch.

    Attributes:
        state: of the learner: weights, optimiser.
        best_weights: of the best epoch so far; none before the first.
        rows, initial: of the history.
    """

    state: Mapping[str, Array]
    best_weights: Sequence[Array]
    rows: Sequence[Mapping[str, float]]
    initial: Mapping[str, float]


class Keeper(Protocol):
    """Where checkpoints of a training are kept."""

    def load(self) -> Checkpoint | None:
        """The last one that was saved; None if training begins."""

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the last one."""


_keeper: ContextVar[Keeper | None] = ContextVar("keeper", default=None)


@contextmanager
def keeping(keeper: Keeper | None) -> Iterator[None]:
    """Let the next training in the block continue from a keeper's checkpoint, and save there."""
    token = _keeper.set(keeper)
    try:
        yield
    finally:
        _keeper.reset(token)


def take_keeper() -> Keeper | None:
    """Where to keep checkpoints, if `keeping` said so. It serves one training."""
    keeper = _keeper.get()
    _keeper.set(None)
    return keeper


def write(path: Path, checkpoint: Checkpoint, times: Mapping[int, int]) -> None:
    """Write a checkpoint to a file that is there as a whole or not at all, even after a power cut.

    Args:
        times: of epochs, in milliseconds, to keep with it.

    Raises:
        OSError: it cannot be written; what was there before is untouched.
    """
    record = {"rows": [*checkpoint.rows], "initial": checkpoint.initial, "times": times}
    arrays = {f"state/{name}": value for name, value in checkpoint.state.items()}
    arrays |= {f"best/{number}": value for number, value in enumerate(checkpoint.best_weights)}
    arrays[_RECORD] = np.frombuffer(json.dumps(record).encode(), np.uint8)
    replace_file(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def replace_file(path: Path, save: Callable[[BinaryIO], object]) -> None:
    """Let `save` write a file that is there as a whole or not at all, even after a power cut.

    Raises:
        OSError: it cannot be written; what was there before is untouched.
    """
    draft = path.with_name(f".{path.name}")
    try:
        with draft.open("wb") as file:
            save(file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
    sync(path.parent)


def read(path: Path) -> tuple[Checkpoint, dict[int, int]]:
    """A checkpoint that `write` has written, and the times.

    Raises:
        TrackmlError: the file is there, but cannot be read.
    """
    try:
        # Opened here: np.load leaves a file open that it cannot read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            record = json.loads(bytes(arrays[_RECORD]))
            states = [name for name in arrays if name.startswith("state/")]
            state = {name.removeprefix("state/"): arrays[name] for name in states}
            count = sum(name.startswith("best/") for name in arrays)
            best = [arrays[f"best/{number}"] for number in range(count)]
        times = {int(epoch): time for epoch, time in record["times"].items()}
        return Checkpoint(state, best, record["rows"], record["initial"]), times
    except Exception as error:  # noqa: BLE001  # what a damaged file leads to has no end
        raise TrackmlError(
            f"cannot read the checkpoint {path} ({one_line(error)}); bring it back, or leave "
            "--resume out to begin anew"
        ) from None


def sync(path: Path) -> None:
    """Let a file, or what is in a folder, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_files(folder: Path) -> None:
    """Let all files below a folder survive a power cut."""
    for path in [folder, *folder.rglob("*")]:
        sync(path)
