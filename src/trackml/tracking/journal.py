"""A run's training on the disk of this machine, until MLflow has all of it."""

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from trackml.errors import TrackmlError
from trackml.training.checkpoint import Checkpoint, read, sync_folder, write


class Journal:
    """The last checkpoint of a run, and when each epoch of it ended: a `Keeper`.

    `rows` has the metrics of the epochs before, 0 for those of the untrained model.

    Rows that are logged once more with the time of their first logging are one row in MLflow.
    """

    def __init__(self, run_id: str, predecessor: str = "") -> None:
        """Find what there is of a run.

        Args:
            predecessor: another run whose training this one takes over.

        Raises:
            TrackmlError: the checkpoint cannot be read, or taken over.
        """
        self._path = _file_of(run_id)
        before = _file_of(predecessor) if predecessor else self._path
        if before.exists() and not self._path.exists():
            with _writable(self._path.parent):
                # No copy: a checkpoint is replaced, and never changed.
                os.link(before, self._path)
                sync_folder(self._path.parent)
        self._saved: Checkpoint | None = None
        self._times: dict[int, int] = {}
        if self._path.exists():
            self._saved, self._times = read(self._path)
        self.rows = _rows_of(self._saved)

    def load(self) -> Checkpoint | None:
        with _writable(self._path.parent):
            pass  # whether it is writable must not turn out after an epoch
        saved, self._saved = self._saved, None  # it may be large, and is wanted once
        return saved

    def save(self, checkpoint: Checkpoint) -> None:
        self._times[len(checkpoint.rows)] = _now()
        with _writable(self._path.parent):
            write(self._path, checkpoint, self._times)

    def time_of(self, epoch: int) -> int:
        """When an epoch was saved, in milliseconds; now, of one that was not."""
        return self._times.get(epoch, _now())

    @staticmethod
    def remove(run_id: str) -> None:
        """MLflow has all of a run, or another run has its training: nothing of it is needed."""
        shutil.rmtree(folder_of(run_id), ignore_errors=True)


def folder_of(run_id: str) -> Path:
    """Where a run's journal is, below TRACKML_RUNS_DIR or .trackml/runs."""
    return runs_folder() / run_id


def runs_folder() -> Path:
    """Where the journals of all runs are."""
    return Path(os.environ.get("TRACKML_RUNS_DIR", ".trackml/runs")).absolute()


def _file_of(run_id: str) -> Path:
    return folder_of(run_id) / "checkpoint.npz"


def _rows_of(saved: Checkpoint | None) -> dict[int, Mapping[str, float]]:
    """The metrics of each epoch that was saved, 0 for those of the untrained model."""
    if not saved:
        return {}
    initial = {0: saved.initial} if saved.initial else {}
    return initial | dict(enumerate(saved.rows, start=1))


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """A folder that is there for the block.

    Raises:
        TrackmlError: the disk says no.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)
        yield
    except OSError as error:
        raise TrackmlError(
            f"cannot write to {folder}, where checkpoints are kept: {error.strerror or error}; "
            "what was there before is intact; name another folder in TRACKML_RUNS_DIR"
        ) from None


def _now() -> int:
    return time.time_ns() // 1_000_000
