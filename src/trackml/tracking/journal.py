"""A run's training on the disk of this machine, until MLflow has all of it."""

import os
import shutil
import time
from pathlib import Path

from trackml.errors import TrackmlError
from trackml.training.checkpoint import Checkpoint, read, write


class Journal:
    """The last checkpoint of a run, and when each epoch of it ended: a `Keeper`.

    Rows that are logged once more with the time of their first logging are one row in MLflow.
    """

    def __init__(self, run_id: str, predecessor: str | None = None) -> None:
        """Find what there is of a run. Nothing is made before there is something to save.

        Args:
            predecessor: the run whose training this one takes over.

        Raises:
            TrackmlError: the checkpoint cannot be read.
        """
        self._folder = folder_of(run_id)
        if predecessor:
            _copy(folder_of(predecessor), self._folder)
        self._path = self._folder / "checkpoint.npz"
        self._saved: Checkpoint | None = None
        self._times: dict[str, int] = {}
        if self._path.exists():
            self._saved, more = read(self._path)
            self._times = more["times"]

    def load(self) -> Checkpoint | None:
        return self._saved

    def save(self, checkpoint: Checkpoint) -> None:
        self._times[str(len(checkpoint.rows))] = _now()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrackmlError(
                f"cannot make {self._folder}, where checkpoints are kept: "
                f"{error.strerror or error}; name another folder in TRACKML_RUNS_DIR"
            ) from None
        write(self._path, checkpoint, times=self._times)

    def time_of(self, epoch: int) -> int:
        """When an epoch was saved, in milliseconds; now, of one that was not."""
        return self._times.get(str(epoch), _now())

    @property
    def rows(self) -> dict[int, dict[str, float]]:
        """The metrics of each epoch that was saved, 0 for those of the untrained model."""
        if not self._saved:
            return {}
        initial = {0: dict(self._saved.initial)} if self._saved.initial else {}
        return initial | {n: dict(row) for n, row in enumerate(self._saved.rows, start=1)}

    def remove(self) -> None:
        """MLflow has it all: nothing of it is needed any more."""
        shutil.rmtree(self._folder, ignore_errors=True)


def folder_of(run_id: str) -> Path:
    """Where a run's journal is, below TRACKML_RUNS_DIR or .trackml/runs."""
    return Path(os.environ.get("TRACKML_RUNS_DIR", ".trackml/runs")).absolute() / run_id


def _copy(old: Path, new: Path) -> None:
    """Copy a folder, if it is there, so that the copy is there as a whole or not at all."""
    if old.exists() and not new.exists():
        draft = new.with_name(f".{new.name}")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(old, draft)
        draft.replace(new)


def _now() -> int:
    return time.time_ns() // 1_000_000
