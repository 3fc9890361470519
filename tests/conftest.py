"""Shared by all tests: a store of their own, small data, and pipelines as a user starts them."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from filelock import FileLock, Timeout
from hypothesis import HealthCheck, settings

from tests.pipelines.expected import EXPECTED
from tests.programs import (
    MLFLOW_VARIABLES as MLFLOW_VARIABLES,
    ROOT as ROOT,
    framework_to_fork,
    run_forked,
    user_environment as user_environment,
)
from trackml.data import ImageData

if TYPE_CHECKING:
    from keras import Model
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


def start(*command: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a module of the project in a folder, as a user would, and return what it said."""
    whole = user_environment() | environment
    if framework := framework_to_fork(command, whole):
        return run_forked(framework, command, folder, whole)
    return execute(sys.executable, "-m", *command, folder=folder, **environment)


def execute(*words: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run any program in a folder, in a user's environment, and return what it said."""
    return subprocess.run(
        words,
        cwd=folder,
        env=user_environment() | environment,
        capture_output=True,
        text=True,
        check=False,
    )


# For the begin of a program: as if packages, joined by commas in an argument, were not installed.
# Nobody finds them, as libraries also ask whether there would be one.
ABSENT = """
import sys
class Present:
    absent, finders = sys.argv.pop(1).split(","), list(sys.meta_path)
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] not in self.absent:
            specs = (finder.find_spec(name, path, target) for finder in self.finders)
            return next(filter(None, specs), None)
    def find_distributions(self, *context):
        able = [finder for finder in self.finders if hasattr(finder, "find_distributions")]
        return (found for finder in able for found in finder.find_distributions(*context))
sys.meta_path[:] = [Present()]
"""


def read(store: Path | str) -> "MlflowClient":
    """A client of a folder's database, or of a server, that leaves the process as it is."""
    from mlflow.tracking import MlflowClient

    uri = store if isinstance(store, str) else f"sqlite:///{store}/mlflow.db"
    return MlflowClient(uri, uri)


def runs(store: Path | str) -> "list[Run]":
    """All runs of a folder's database, or of a server, oldest first."""
    client = read(store)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments, order_by=["attributes.start_time ASC"]))


def files(client: "MlflowClient", run_id: str, path: str | None = None) -> Iterator[str]:
    """The paths of all files among a run's artifacts."""
    for entry in client.list_artifacts(run_id, path):
        if entry.is_dir:
            yield from files(client, run_id, entry.path)
        else:
            yield entry.path


@dataclass(frozen=True)
class Finished:
    """A folder with a finished run of each entry point, and what they said."""

    folder: Path
    said: "dict[str, subprocess.CompletedProcess[str]]"

    @property
    def client(self) -> "MlflowClient":
        return read(self.folder)

    def run(self, name: str) -> "Run":
        wanted = EXPECTED[name].task, EXPECTED[name].architecture
        (found,) = (
            run
            for run in runs(self.folder)
            if (run.data.tags["trackml.task"], run.data.tags["trackml.architecture"]) == wanted
        )
        return found

    def model_folder(self, task: str, alias: str) -> Path:
        """Where a registered version's files are."""
        version = self.client.get_model_version_by_alias(task, alias)
        (file,) = self.folder.rglob(f"{str(version.source).split('/')[-1]}/artifacts/MLmodel")
        return file.parent

    def artifacts(self, name: str) -> set[str]:
        return set(files(self.client, self.run(name).info.run_id))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Short runs on real data, started as a user does.

    The processes that tests run in share them, and the work: each takes what no other has taken.
    The longest first; `fashion` long before `fashion_aug`, which compares itself with it.
    """
    base = tmp_path_factory.getbasetemp()
    together = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, notes = together / "finished", together / "said"
    for path in (folder, notes):
        path.mkdir(exist_ok=True)
    longest = ("detector", "fashion", "transfer", "fashion_best", "cnn_best")
    names = list(dict.fromkeys([*longest, *reversed(EXPECTED)]))
    for seconds in (0, -1):  # take what is free, then wait for what others have taken
        for name in names:
            with suppress(Timeout), FileLock(notes / f"{name}.lock", timeout=seconds):
                if not (notes / name).exists():
                    command = sys.executable, "-m", *EXPECTED[name].command
                    result = execute(*command, folder=folder)  # no fork: it loads what it needs
                    (notes / name).write_text(json.dumps(vars(result)))
    said: dict[str, subprocess.CompletedProcess[str]] = {}
    for name in names:
        said[name] = subprocess.CompletedProcess(**json.loads((notes / name).read_text()))
        assert said[name].returncode == 0, said[name].stderr
    return Finished(folder, said)


@pytest.fixture(autouse=True)
def warnings_stay_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """In runs too, where a user's `python -W error` has no effect."""
    monkeypatch.setattr("trackml.backends.no_warning_is_an_error", nullcontext)


@pytest.fixture(scope="session", autouse=True)
def _programs_ignore_no_signal() -> None:
    """Started by nohup or in the background, this process ignores what tests send to programs."""
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGINT):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)  # of which they inherit nothing


@pytest.fixture(scope="session")
def blank_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's schema and no run, made once: its migrations take seconds."""
    from trackml.tracking.database import create_database

    folder = tmp_path_factory.mktemp("blank")
    # Its copies have another name, else they would pass for a project that was copied.
    create_database(folder / "blank.db")
    return folder / "blank.db"


@pytest.fixture
def store_folder(tmp_path: Path, blank_database: Path) -> Path:
    """A folder with an empty store: a program that makes one takes a second longer."""
    shutil.copy(blank_database, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, empty, with no store chosen by the environment."""
    import mlflow

    for variable in MLFLOW_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # back to its default
    yield tmp_path
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


@pytest.fixture
def client(empty_folder: Path, blank_database: Path) -> "MlflowClient":
    """A client of an empty store in the current folder."""
    from trackml.tracking import server

    shutil.copy(blank_database, empty_folder / "mlflow.db")
    return server.connect()


@pytest.fixture
def blobs() -> ImageData:
    """260 small images (150 to train, 50 to validate, 60 to test) of 3 classes.

    The classes differ in which third of the image is bright.
    """
    random = np.random.default_rng(0)
    labels = random.integers(3, size=260)
    images = random.integers(0, 120, size=(260, 9, 9), dtype=np.uint8)
    for row, label in enumerate(labels):
        images[row, 3 * label : 3 * label + 3] += 100
    return ImageData.from_arrays(
        "blobs",
        (images[:200], labels[:200]),
        (images[200:], labels[200:]),
        classes=("top", "middle", "bottom"),
        validation_split=0.25,
        keep_order=True,
    )


def small_model(dropout: float = 0.0) -> "Model":
    """A dense network for the images of `blobs`."""
    from trackml.backends import keras

    pixels = keras.Input((9, 9), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(pixels))
    x = keras.layers.Dropout(dropout)(keras.layers.Dense(16, activation="relu")(x))
    return keras.Model(pixels, keras.layers.Dense(3, activation="softmax")(x))


def entry_points() -> dict[str, Any]:
    """The entry points of MLproject by name."""
    project: dict[str, Any] = yaml.safe_load((ROOT / "MLproject").read_text())
    return dict(project["entry_points"])
