"""Shared by all tests: a store of their own, small data, and pipelines as a user starts them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from trackml.data import ImageData

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

ROOT = Path(__file__).parents[1]
MLFLOW_VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID")

Start = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def blank_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's schema and no run, made once: its migrations take seconds."""
    from trackml.tracking import store

    folder = tmp_path_factory.mktemp("blank")
    store._create_database(folder / "mlflow.db")
    return folder / "mlflow.db"


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, empty, with no store chosen by the environment."""
    import mlflow

    for variable in MLFLOW_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # back to its default
    yield tmp_path
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


@pytest.fixture
def client(empty_folder: Path, blank_database: Path) -> "MlflowClient":
    """A client of an empty store in the current folder."""
    from trackml.tracking import store

    shutil.copy(blank_database, empty_folder / "mlflow.db")
    return store.connect()


@pytest.fixture
def start() -> Start:
    """Run a command of the project in a folder, as a user would, and return what it said."""

    def run(
        *command: str, folder: Path, timeout: float = 240, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=user_environment() | environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


def user_environment() -> dict[str, str]:
    """The environment of a shell from which nobody has used MLflow yet."""
    kept = {key: value for key, value in os.environ.items() if key not in MLFLOW_VARIABLES}
    scripts = str(Path(sys.executable).parent)
    return kept | {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}",
        "PATH": f"{scripts}:{os.environ['PATH']}",
    }


@pytest.fixture
def blobs() -> ImageData:
    """200 small images of 3 classes that differ in which third of them is bright."""
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
    )
