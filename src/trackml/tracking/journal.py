"""What MLflow is to know of a run, on the disk of this machine until MLflow has all of it."""

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from trackml.errors import TrackmlError, one_line
from trackml.training.checkpoint import Checkpoint, read, replace_file, sync, sync_files, write

JOURNAL_TAG = "trackml.journal"
Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
Link = Literal["", "dataset", "model"]


class Score(NamedTuple):
    """A metric of a run as a whole, and when it was logged, in milliseconds; 0 if MLflow has it.

    `linked` says to what MLflow is to link it, beside the run: "", "dataset" or "model", which
    includes the dataset.
    """

    value: float
    at: int
    linked: Link = ""


@dataclass
class Facts:
    """All that is to be known of a run, but for its epochs, its artifacts and its model.

    Attributes:
        store: the address of the store that it belongs to, without a password.
        experiment, experiment_id: one of the two, the name where it may have to be made.
        started, ended: in milliseconds; 0 is not yet.
        run_id: of the run in MLflow; "" until there is one.
        dataset: name, digest, source_type and source.
        has_model: whether the folder of the model has all of it.
        wants_version: whether it is to be registered.
        is_delivered: whether MLflow has all that there is, and nobody is at work on it.
    """

    store: str
    experiment: str
    experiment_id: str
    name: str
    started: int
    run_id: str = ""
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, Score] = field(default_factory=dict)
    dataset: dict[str, str] = field(default_factory=dict)
    has_model: bool = False
    wants_version: bool = False
    status: Status = "RUNNING"
    ended: int = 0
    is_delivered: bool = False

    @classmethod
    def read(cls, folder: Path) -> "Facts":
        """What is kept in the folder of a run.

        Raises:
            TrackmlError: it cannot be read.
        """
        path = folder / _FACTS
        try:
            known = json.loads(path.read_text())
            scores = {name: Score(*score) for name, score in known.pop("metrics").items()}
            return cls(**known, metrics=scores)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise TrackmlError(
                f"cannot read {path}, what is kept of a run ({one_line(error)}); bring it back, or "
                f"remove {folder} to give that run up"
            ) from None


class Journal:
    """A run's folder: its facts, its artifacts, its model, and its last checkpoint (a `Keeper`).

    `epochs` has the metrics of each epoch, and when it ended in milliseconds; 0 is the untrained
    model. Rows that are delivered once more with the same time are one row in MLflow.
    """

    def __init__(self, folder: Path, facts: Facts, *, is_kept: bool = True) -> None:
        """Begin with what is known.

        Args:
            is_kept: whether it is to outlive this process.
        """
        self.folder, self.facts, self.is_kept = folder, facts, is_kept
        self.epochs: dict[int, tuple[Mapping[str, float], int]] = {}
        self._saved: Checkpoint | None = None

    @classmethod
    def open(cls, folder: Path) -> "Journal":
        """What is there of a run.

        Raises:
            TrackmlError: it cannot be read.
        """
        journal = cls(folder, Facts.read(folder))
        journal.take_checkpoint(folder)
        return journal

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def take_checkpoint(self, folder: Path) -> None:
        """Go on from the checkpoint in a folder, if there is one: this run's, or another's.

        Raises:
            TrackmlError: it cannot be read, or taken over.
        """
        source, own = folder / _CHECKPOINT, self.folder / _CHECKPOINT
        if not source.exists():
            return
        if source != own:
            with writable(self.folder):
                own.unlink(missing_ok=True)
                try:  # a checkpoint is replaced, and never changed
                    os.link(source, own)
                except OSError:  # of file systems that know no links
                    shutil.copyfile(source, own)
                sync(self.folder)
        self._saved, times = read(own)
        initial = {0: self._saved.initial} if self._saved.initial else {}
        rows = initial | dict(enumerate(self._saved.rows, start=1))
        self.epochs = {epoch: (row, times[epoch]) for epoch, row in rows.items()}

    def keep(self) -> None:
        """Save the facts, after a change of them.

        Raises:
            TrackmlError: the disk says no.
        """
        if self.is_kept:
            with writable(self.folder):
                text = json.dumps(asdict(self.facts)).encode()
                replace_file(self.folder / _FACTS, lambda file: file.write(text))

    def add_metrics(self, metrics: Mapping[str, float], linked: Link = "") -> None:
        """Note metrics of the run as a whole; what is known already stays as it is."""
        now = now_ms()
        new = {name: Score(value, now, linked) for name, value in metrics.items()}
        self.facts.metrics = new | self.facts.metrics

    def add_artifact(self, name: str, save: Callable[[Path], object]) -> None:
        """Keep a file by the name that it will have in MLflow.

        Raises:
            TrackmlError: the disk says no.
        """
        path = self.artifacts / name
        draft = path.with_name(f".{path.name}")
        with writable(path.parent):
            save(draft)
            draft.replace(path)

    def add_model(self, save: Callable[[str], object]) -> int:
        """Keep a model, unless one is there; return the bytes of all its files.

        Raises:
            TrackmlError: the disk says no.
        """
        if not self.facts.has_model:
            shutil.rmtree(self.model, ignore_errors=True)  # a half of one
            with writable(self.folder):
                save(str(self.model))
                sync_files(self.model)
            self.facts.has_model = True
            self.keep()
        return sum(file.stat().st_size for file in self.model.rglob("*") if file.is_file())

    def add_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Note an epoch, at the time that was saved with it, else now."""
        _, at = self.epochs.get(epoch, ({}, now_ms()))
        self.epochs[epoch] = metrics, at

    def load(self) -> Checkpoint | None:
        saved, self._saved = self._saved, None  # it may be large, and is wanted once
        return saved

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the last checkpoint, and take over its last epoch.

        Raises:
            TrackmlError: the disk says no.
        """
        last = len(checkpoint.rows)
        row = checkpoint.rows[-1] if checkpoint.rows else checkpoint.initial
        times = {epoch: at for epoch, (_, at) in self.epochs.items()} | {last: now_ms()}
        with writable(self.folder):
            write(self.folder / _CHECKPOINT, checkpoint, times)
        # Not before: MLflow must not hear of an epoch that would be trained again.
        self.epochs[last] = row, times[last]

    def settle(self) -> None:
        """Let all of it survive a power cut: it is to stay for a while."""
        with suppress(OSError):
            sync_files(self.folder)


_FACTS, _CHECKPOINT, _REMOVED = "run.json", "checkpoint.npz", ".removed"


def new_folder(name: str = "") -> Path:
    """Where the journal of a new run is to be."""
    return runs_folder() / (name or new_name())


def new_name() -> str:
    """What no other journal is called."""
    return uuid.uuid4().hex


def runs_folder() -> Path:
    """Where the journals of all runs are: TRACKML_RUNS_DIR, or .trackml/runs."""
    named = os.environ.get("TRACKML_RUNS_DIR") or ".trackml/runs"
    return Path(named).expanduser().absolute()


def all_journals() -> list[Path]:
    """The folders of all that is kept of runs, the newest run first, those of which we know."""
    folders = [path.parent for path in runs_folder().glob(f"[!.]*/{_FACTS}")]
    return sorted(folders, key=_started, reverse=True)


def _started(folder: Path) -> int:
    try:
        return Facts.read(folder).started
    except TrackmlError:
        return 0  # damaged, or gone by now


def remove(folder: Path) -> None:
    """Remove what is kept of a run: MLflow has all of it, or another run has its training."""
    # At once: a half of it would look like a journal that was damaged.
    gone = folder.with_name(f".{folder.name}{_REMOVED}")
    with suppress(OSError):
        folder.replace(gone)
    shutil.rmtree(gone, ignore_errors=True)


def remove_halves() -> None:
    """Remove what `remove` has left when it was killed."""
    for folder in runs_folder().glob(f".*{_REMOVED}"):
        shutil.rmtree(folder, ignore_errors=True)


def now_ms() -> int:
    """The time as MLflow has it."""
    return time.time_ns() // 1_000_000


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """A folder that is there for the block.

    Raises:
        TrackmlError: the disk says no.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sync(folder.parent)
        yield
    except OSError as error:
        raise TrackmlError(
            f"cannot write to {folder}, where a run is kept: {error.strerror or error}; "
            "what was there before is intact; make room, or name another folder in TRACKML_RUNS_DIR"
        ) from None
