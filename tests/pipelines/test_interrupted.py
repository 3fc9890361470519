"""Programs that are asked to stop, by whom ever: true statuses, and nobody left behind."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, read, runs, start, user_environment
from tests.pipelines.families import MARK, begun, processes_of, wait_for_the_end, wait_until
from tests.pipelines.test_resume import epochs_of

LONG = {"epochs": "100000", "limit": "3000", "validation_split": "0.02"}


def begun_by_mlflow(folder: Path, entry_point: str, **params: str) -> "subprocess.Popen[str]":
    """`mlflow run`, in a group of processes of its own, as a terminal has it."""
    given = [word for name, value in params.items() for word in ("-P", f"{name}={value}")]
    command = ["mlflow", "run", str(ROOT), "-e", entry_point, "--env-manager", "local", *given]
    kept = {"TRACKML_RUNS_DIR": str(folder / "runs"), MARK: str(folder)}
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=user_environment() | kept,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize(
    ("entry_point", "number", "to_all"),
    [
        ("cnn", signal.SIGINT, True),
        ("scratch_mnist", signal.SIGTERM, False),
        pytest.param("scratch_mnist", signal.SIGKILL, False, marks=pytest.mark.slow),
    ],
)
def test_mlflow_run_interrupted_leaves_a_killed_run_and_no_process(
    entry_point: str,
    number: signal.Signals,
    to_all: bool,
    tmp_path: Path,
    blank_database: Path,
) -> None:
    shutil.copy(blank_database, tmp_path / "mlflow.db")  # MLflow would make it while we look
    params = LONG | ({"patience": "0", "model": "mlp"} if entry_point == "scratch_mnist" else {})
    process = begun_by_mlflow(tmp_path, entry_point, **params)
    wait_until(lambda: epochs_of(tmp_path) > 1, process)
    if to_all:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    process.communicate()
    wait_for_the_end(tmp_path)
    (run,) = runs(tmp_path)
    assert run.info.status == "KILLED"
    assert run.data.tags["trackml.failure"] == "stopped by a signal"
    rows = read(tmp_path).get_metric_history(run.info.run_id, "val_loss")
    assert run.info.end_time >= max(row.timestamp for row in rows)
    assert not processes_of(tmp_path)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_a_pipeline_that_is_asked_to_stop_can_go_on(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    flags = ("--model", "mlp", "--limit", "3000", "--patience", "0", "--epochs", "100000")
    point = f"{number.name}@before:batch:60"  # asked 25 times an epoch: in the third
    said = start("tests.failpoints", point, "pipelines.scratch_mnist", *flags, folder=tmp_path)
    assert (said.returncode, said.stderr.count("\n")) == (code, 1)
    (run,) = runs(tmp_path)
    assert run.info.status == "KILLED"
    assert epochs_of(tmp_path) == 2

    again = begun(tmp_path, "scratch_mnist", *flags, "--resume", "true")
    wait_until(lambda: epochs_of(tmp_path) > 2, again)
    assert [run.info.status for run in runs(tmp_path)] == ["RUNNING"]
    again.terminate()
    again.communicate()
