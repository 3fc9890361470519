"""The wheel, in an empty folder without a checkout."""

import csv
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.conftest import ROOT, execute, runs, user_environment
from trackml.data import load
from trackml.tasks import find_entry_points, source_sha256

if TYPE_CHECKING:
    import subprocess


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `pip install` builds it, from what is tracked and what is not ignored."""
    folder = tmp_path_factory.mktemp("wheel")
    built = execute("uv", "build", "--wheel", "--out-dir", str(folder), str(ROOT), folder=folder)
    if "hatchling" in built.stderr and built.returncode:
        pytest.skip("hatchling, which builds it, cannot be fetched")  # pip itself would fail too
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that it is installed in, alone."""
    folder = tmp_path_factory.mktemp("installed")
    install = ("-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), str(wheel))
    done = execute(sys.executable, *install, folder=folder)
    assert done.returncode == 0, done.stderr
    return folder


def typed(installed: Path, folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    path = f"{installed / 'bin'}{os.pathsep}{user_environment()['PATH']}"
    return execute(*words, folder=folder, PYTHONPATH=str(installed), PATH=path)


def answered(installed: Path, folder: Path, *words: str) -> str:
    done = typed(installed, folder, "trackml", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


PROBE = """
import sys, trackml, trackml.tasks as tasks
print(*sorted(tasks.find_entry_points()))
print(tasks.source_sha256("trackml.pipelines.cnn"), trackml.__file__, "pipelines" in sys.modules)
"""


def test_it_has_the_pipelines_with_the_same_code_and_the_program(
    installed: Path, store_folder: Path
) -> None:
    names, facts = typed(installed, store_folder, sys.executable, "-c", PROBE).stdout.splitlines()
    assert names.split() == sorted(find_entry_points())
    own = str(installed / "trackml/__init__.py")
    assert facts.split() == [source_sha256("pipelines.cnn"), own, "False"]
    small = ("limit=600", "--epochs", "1")
    said = answered(installed, store_folder, "run", "scratch_mnist", *small, "seed=3")
    assert "registered mnist version 1" in said
    assert "to compare runs:\n  trackml ui\n" in said
    images = load("mnist").test.images[:3]
    np.save(store_folder / "images.npy", images)
    answers = answered(installed, store_folder, "predict", "mnist", "images.npy")
    rows = list(csv.reader(answers.splitlines()))
    assert rows[0] == ["row", "prediction", *"0123456789"]
    assert [row[0] for row in rows[1:]] == ["0", "1", "2"]
    assert sum(map(float, rows[1][2:])) == pytest.approx(1, abs=1e-5)
    said = answered(installed, store_folder, "compare", "mnist")
    assert "scratch-softmax" in said
    (trained, _) = runs(store_folder)
    assert (trained.info.status, trained.data.params["seed"]) == ("FINISHED", "3")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("dense_mnist", "limit=600", "epochs=1"), "registered mnist version 1"),
        (
            ("sweep", "space=batch_size=32|64", "epochs=1", "limit=600"),
            "to run it again: trackml run dense_mnist epochs=1 limit=600 seed=0 batch_size=",
        ),
        (
            ("sweep", "pipeline=own.py", "space=batch_size=10|20"),
            "own.py limit=0 seed=0 batch_size=",
        ),
        (
            ("cnn_suite", "variants=plain", "optimizers=adam", "epochs=1", "limit=600"),
            "best on validation: plain with adam",
        ),
    ],
)
def test_everything_runs_from_it(
    words: tuple[str, ...], text: str, installed: Path, store_folder: Path
) -> None:
    (store_folder / "own.py").write_bytes((ROOT / "tests/pipelines/own.py").read_bytes())
    said = answered(installed, store_folder, "run", *words)
    assert text in " ".join(said.replace("\\\n", " ").split())  # a long command goes over lines
    assert {run.info.status for run in runs(store_folder)} == {"FINISHED"}


@pytest.mark.examples
def test_it_works_in_an_environment_of_its_own(wheel: Path, tmp_path: Path) -> None:
    python = tmp_path / "environment/bin/python"
    steps = [
        (f"{sys.base_prefix}/bin/python3", "-m", "venv", str(tmp_path / "environment")),
        (
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "-c",
            str(ROOT / "requirements.txt"),
            str(wheel),
        ),
        (str(python.parent / "trackml"), "run", "dense_mnist", "limit=600", "epochs=1"),
        (str(python.parent / "trackml"), "compare", "mnist"),
    ]
    for step in steps:
        done = execute(*step, folder=tmp_path, PYTHONPATH="")
        assert done.returncode == 0, done.stderr
    assert "dense" in done.stdout
