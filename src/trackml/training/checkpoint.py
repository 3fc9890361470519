"""Checkpoints: all that an epoch loop needs to go on as if it had never stopped."""

import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trackml.errors import TrackmlError

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
def keeping(keeper: Keeper) -> Iterator[None]:
    """Let the training in the block continue from its keeper's checkpoint, and save there."""
    token = _keeper.set(keeper)
    try:
        yield
    finally:
        _keeper.reset(token)


def current_keeper() -> Keeper | None:
    """Where to keep checkpoints, if `keeping` said so."""
    return _keeper.get()


def write(path: Path, checkpoint: Checkpoint, **more: Any) -> None:
    """Write a checkpoint to a file that is there as a whole or not at all, even after a power cut.

    Args:
        more: values for JSON to keep with it.

    Raises:
        TrackmlError: it cannot be written; what was there before is untouched.
    """
    record = {"rows": [*checkpoint.rows], "initial": checkpoint.initial, **more}
    arrays = {f"state/{name}": value for name, value in checkpoint.state.items()}
    arrays |= {f"best/{number}": value for number, value in enumerate(checkpoint.best_weights)}
    arrays[_RECORD] = np.frombuffer(json.dumps(record).encode(), np.uint8)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise TrackmlError(
            f"cannot write the checkpoint {path}: {error.strerror or error}; the one before is "
            "intact"
        ) from None


def read(path: Path) -> tuple[Checkpoint, dict[str, Any]]:
    """A checkpoint that `write` has written, and what it was given more.

    Raises:
        TrackmlError: the file is there, but cannot be read.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            record = json.loads(bytes(arrays[_RECORD]))
            state = {name[6:]: arrays[name] for name in arrays if name.startswith("state/")}
            count = sum(name.startswith("best/") for name in arrays)
            best = [arrays[f"best/{number}"] for number in range(count)]
        checkpoint = Checkpoint(state, best, record.pop("rows"), record.pop("initial"))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise TrackmlError(
            f"cannot read the checkpoint {path} ({type(error).__name__}: {error}); move it away to "
            "begin anew"
        ) from None
    return checkpoint, record


def _sync_folder(folder: Path) -> None:
    """Let the folder's own entry survive a power cut, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
