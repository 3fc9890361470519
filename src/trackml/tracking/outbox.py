"""The outbox: a run's folder on this machine, which keeps the run until MLflow has all of it.

State, not a queue: the folder says what the run is; the uploader brings MLflow up to date.
"""

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from platformdirs import user_state_path
from pydantic import BaseModel, ConfigDict, ValidationError

from trackml.errors import ModelRejected, TrackmlError, one_line
from trackml.files import replace_file, sync_files, writable
from trackml.process.system import can_write, private_folder
from trackml.tasks import is_in_copy_of_mlflow
from trackml.training import checkpoint
from trackml.training.checkpoint import Checkpoint, TakeCheckpoint

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
Link = Literal["", "dataset", "model"]

FAILURE_TAG = "trackml.failure"
OUTBOX_TAG = "trackml.journal"  # the outbox's name: it finds a run whose id is not known yet
PREDECESSOR_TAG = "trackml.predecessor"
MISSING_TAG = "trackml.missing_artifacts"
_STATE, _CHECKPOINT, _REMOVED = "run.json", "checkpoint.npz", ".removed"


class RunMetric(NamedTuple):
    """A metric of the run as a whole.

    `at` is when it was logged, in milliseconds; 0 if only MLflow has it. `linked` says what MLflow
    links it to beside the run: nothing, the dataset, or the model and the dataset.
    """

    value: float
    at: int
    linked: Link = ""


class RunState(BaseModel):
    """All there is to a run but its epochs, its artifacts and the files of its model.

    Attributes:
        store: the address of its tracking store, without a password.
        experiment, experiment_id: its experiment, by its id, or by a name that may be new.
        started, ended: in milliseconds; 0 is not yet.
        run_id: in MLflow; "" until there is one.
        dataset: name, digest, source_type and source.
        has_model: whether the folder of the model is complete.
        wants_version: whether the model is to be registered.
        is_delivered: whether MLflow has all of it, and no process works on it.
        predecessors: ids of the runs that this one continues in their place.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    store: str
    experiment: str
    experiment_id: str
    name: str
    started: int
    run_id: str = ""
    params: Mapping[str, str] = {}
    tags: Mapping[str, str] = {}
    metrics: Mapping[str, RunMetric] = {}
    dataset: Mapping[str, str] = {}
    has_model: bool = False
    wants_version: bool = False
    status: Status = "RUNNING"
    ended: int = 0
    is_delivered: bool = False
    predecessors: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> "RunState":
        """The state in the folder of a run.

        Raises:
            TrackmlError: it cannot be read.
        """
        path = folder / _STATE
        try:
            state = cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise TrackmlError(
                f"cannot read {path}, the state of a run ({one_line(error)}); restore it, or "
                f"remove {folder} to give that run up"
            ) from None
        # Older versions had these two in other places.
        tags = {OUTBOX_TAG: folder.name, **state.tags}
        before = state.predecessors or tuple(filter(None, [tags.get(PREDECESSOR_TAG)]))
        return state.model_copy(update={"tags": tags, "predecessors": before})


class Outbox:
    """The state, epochs, artifacts, model and last checkpoint of a run. It alone writes them.

    Methods that write raise TrackmlError where the disk refuses it. What was there is intact then.

    Attributes:
        state: replaced as a whole by each change, in memory and on disk.
        epochs: number → its metrics, and when it ended in milliseconds; 0 is the untrained model.
        artifacts: path in MLflow → when the file was written, in nanoseconds.
        is_kept: whether it outlives this process.
        is_new: whether this process began it.
    """

    def __init__(
        self, folder: Path, state: RunState, *, is_kept: bool = True, is_new: bool = True
    ) -> None:
        self.folder, self.state, self.is_kept, self.is_new = folder, state, is_kept, is_new
        self.name = folder.name
        self.artifact_folder, self.model_folder = folder / "artifacts", folder / "model"
        self.epochs: dict[int, tuple[Mapping[str, float], int]] = {}
        self.artifacts: dict[str, int] = {}
        self._resume_point: Checkpoint | None = None

    @classmethod
    def create(cls, folder: Path, state: RunState) -> "Outbox":
        """A new outbox, which the caller has locked. A run that cannot be kept does not begin."""
        outbox = cls(folder, state)
        outbox.update()
        return outbox

    @classmethod
    @contextmanager
    def temporary(cls, state: RunState) -> Iterator["Outbox"]:
        """An outbox that is removed after the block, with what MLflow has not accepted by then."""
        with tempfile.TemporaryDirectory(prefix="trackml-") as folder:
            outbox = cls(Path(folder, uuid.uuid4().hex), state, is_kept=False)
            outbox.update()
            yield outbox

    @classmethod
    def read(cls, folder: Path) -> "Outbox":
        """The outbox in a folder, which the caller has locked.

        Raises:
            TrackmlError: it cannot be read.
        """
        for draft in folder.glob(".*"):  # of a file that a kill left half-written
            with suppress(OSError):
                draft.unlink()
        outbox = cls(folder, RunState.read(folder), is_new=False)
        if (folder / _CHECKPOINT).exists():
            saved, times = checkpoint.read(folder / _CHECKPOINT)
            initial = {0: saved.initial} if saved.initial else {}
            rows = initial | dict(enumerate(saved.rows, start=1))
            outbox.epochs = {epoch: (row, times[epoch]) for epoch, row in rows.items()}
            outbox._resume_point = saved
        for file in outbox.artifact_folder.rglob("[!.]*"):
            if file.is_file():
                name = file.relative_to(outbox.artifact_folder).as_posix()
                outbox.artifacts[name] = file.stat().st_mtime_ns
        return outbox

    @property
    def run_id(self) -> str:
        """In MLflow; until it has one, the outbox's own name."""
        return self.state.run_id or self.name

    def update(
        self, *, params: Mapping[str, str] = {}, tags: Mapping[str, str] = {}, **changes: Any
    ) -> None:
        """Add parameters and tags, and replace other fields of the state."""
        params, tags = {**self.state.params, **params}, {**self.state.tags, **tags}
        changes |= {"params": params, "tags": tags}
        self.replace_state(self.state.model_copy(update=changes))

    def replace_state(self, state: RunState) -> None:
        """Replace the state. A full disk keeps it from the file, but not from this process."""
        tags = {**state.tags, OUTBOX_TAG: self.name}
        self.state = state.model_copy(update={"tags": tags})
        if self.is_kept:
            content = self.state.model_dump_json().encode()
            with self._writable(self.folder):
                replace_file(self.folder / _STATE, lambda file: file.write(content))

    def add_metrics(self, metrics: Mapping[str, float], linked: Link = "") -> None:
        """Add metrics of the run as a whole; one that is there already stays as it is."""
        new = {name: RunMetric(value, now_ms(), linked) for name, value in metrics.items()}
        self.update(metrics={**new, **self.state.metrics})

    def add_artifact(self, name: str, save: Callable[[Path], object]) -> None:
        """Save a file under the path that it has in MLflow."""
        path = self.artifact_folder / name
        draft = path.with_name(f".{path.name}")
        with self._writable(path.parent):
            save(draft)
            draft.replace(path)
            self.artifacts[name] = path.stat().st_mtime_ns

    def set_missing(self, paths: Iterable[str], among: Iterable[str]) -> None:
        """Say in a tag which artifacts, all optional, are missing; those not `among` stay in it."""
        before = self.state.tags.get(MISSING_TAG, "")
        others = {*before.split(", ")} - {*among, ""}
        if (now := ", ".join(sorted(others | {*paths}))) != before:
            self.update(tags={MISSING_TAG: now})

    def add_model(self, save: Callable[[str], object]) -> int:
        """Save a model's files, unless they are there; return how many bytes they have."""
        if not self.state.has_model:
            shutil.rmtree(self.model_folder, ignore_errors=True)  # a half of one
            try:
                with self._writable(self.folder):
                    save(str(self.model_folder))
                    sync_files(self.model_folder)
            except ModelRejected:
                shutil.rmtree(self.model_folder, ignore_errors=True)
                raise
            self.update(has_model=True)
        files = self.model_folder.rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file())

    def add_epochs(
        self, rows: Mapping[int, Mapping[str, float]], take: TakeCheckpoint | None = None
    ) -> None:
        """Replace the last checkpoint, if this outbox is kept, and add the epochs' metrics."""
        at = now_ms()
        if take and self.is_kept:
            times = {number: time for number, (_, time) in self.epochs.items()}
            with self._writable(self.folder):
                checkpoint.write(self.folder / _CHECKPOINT, take(), times | dict.fromkeys(rows, at))
        # Not before: MLflow must not learn of an epoch that would be trained again.
        self.epochs |= {epoch: (metrics, at) for epoch, metrics in rows.items()}

    @property
    def has_trained(self) -> bool:
        """True if it has metrics of training, of epochs or of a fit without any."""
        return bool(self.epochs) or "train_loss" in self.state.metrics

    def take_resume_point(self) -> Checkpoint | None:
        """The checkpoint that was there when the outbox was read, once: it may be large."""
        saved, self._resume_point = self._resume_point, None
        return saved

    def end(self, status: Status, tags: Mapping[str, str], at: int | None = None) -> None:
        """Set how the run ended, at that time or now. MLflow must learn it even on a full disk."""
        with suppress(TrackmlError):
            self.update(status=status, ended=at or now_ms(), tags=tags)

    def settle(self, *, is_delivered: bool) -> None:
        """After the run's end, keep only what is needed to upload the rest, or to resume."""
        is_finished = self.state.status == "FINISHED"
        has_begun = bool(self.state.run_id) or self.has_trained
        if not is_delivered and (is_finished or has_begun):
            with suppress(OSError):
                sync_files(self.folder)
        elif is_finished or not self.has_trained:
            remove(self.folder)
        else:
            with suppress(TrackmlError):
                self.update(is_delivered=True)

    def _writable(self, folder: Path) -> AbstractContextManager[None]:
        return writable(folder, "where a run is kept", "TRACKML_RUNS_DIR")


def runs_folder() -> Path:
    """The folder of new outboxes: TRACKML_RUNS_DIR, or .trackml/runs.

    The copy of a repository that `mlflow run` makes for an address of git is gone after it: from
    there runs are kept below the user's home folder.
    """
    return _all_runs_folders()[-1 if is_in_copy_of_mlflow() else 0]


def _all_runs_folders() -> list[Path]:
    if named := os.environ.get("TRACKML_RUNS_DIR"):
        return [Path(named).expanduser().absolute()]
    of_user = user_state_path("trackml")
    return [
        Path(".trackml/runs").absolute(),
        (of_user if can_write(of_user) else private_folder()) / "runs",
    ]


def outbox_folder(name: str) -> Path:
    """The folder of the outbox of that name, whether it is there or not."""
    folders = [folder / Path(name).name for folder in _all_runs_folders()]
    visible = (folder for folder in folders if os.access(folder, os.F_OK))
    return next(visible, runs_folder() / Path(name).name)


def outbox_folders() -> list[Path]:
    """The folders of all outboxes that this user may change, those of the newest runs first."""

    def started(folder: Path) -> int:
        try:
            return RunState.read(folder).started
        except TrackmlError:
            return 0  # damaged, or gone by now

    # Path.exists would raise in a folder that this user may not enter.
    places = (runs for runs in _all_runs_folders() if os.access(runs, os.R_OK | os.X_OK))
    states = (path for runs in places for path in runs.glob(f"[!.]*/{_STATE}"))
    folders = [path.parent for path in states if os.access(path.parent, os.W_OK)]
    return sorted(folders, key=started, reverse=True)


def remove(folder: Path) -> None:
    """Remove an outbox, and those of which a kill prevented the removal."""
    # Renamed first: a half of it would look like an outbox that was damaged.
    with suppress(OSError):
        folder.replace(folder.with_name(f".{folder.name}{_REMOVED}"))
    for removed in folder.parent.glob(f".*{_REMOVED}"):
        shutil.rmtree(removed, ignore_errors=True)


def now_ms() -> int:
    """The time as MLflow has it."""
    return time.time_ns() // 1_000_000
