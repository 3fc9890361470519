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

ENDLESS = {"epochs": "100000", "limit": "3000", "validation_split": "0.02"}
MLP = {"patience": "0", "model": "mlp"}


@pytest.mark.parametrize(
    ("entry_point", "own", "number", "to_all"),
    [
        ("cnn", {}, signal.SIGINT, True),
        pytest.param("scratch_mnist", MLP, signal.SIGTERM, False, marks=pytest.mark.slow),
        pytest.param("scratch_mnist", MLP, signal.SIGKILL, False, marks=pytest.mark.slow),
    ],
)
def test_mlflow_run_interrupted_leaves_a_run_that_says_so_and_no_process(
    entry_point: str,
    own: dict[str, str],
    number: signal.Signals,
    to_all: bool,
    tmp_path: Path,
    blank_database: Path,
) -> None:
    """In a terminal all processes get the signal, and MLflow then signals its child again."""
    shutil.copy(blank_database, tmp_path / "mlflow.db")  # MLflow would make it while we look
    given = [word for name, value in (ENDLESS | own).items() for word in ("-P", f"{name}={value}")]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "run", str(ROOT), "-e", entry_point]
        + ["--env-manager", "local", *given],
        cwd=tmp_path,
        env=user_environment() | {"TRACKML_RUNS_DIR": str(tmp_path / "runs"), MARK: str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a group of processes of its own, as a terminal has it
    )
    wait_until(lambda: epochs_of(tmp_path) > 1, process)
    if to_all:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    process.communicate()
    wait_for_the_end(tmp_path)
    (run,) = runs(tmp_path)
    # MLflow has the last word on the status, FAILED for all that did not end well; the tag is ours.
    assert run.info.status in {"KILLED", "FAILED"}
    assert run.data.tags["trackml.failure"] == "stopped by a signal"
    rows = read(tmp_path).get_metric_history(run.info.run_id, "val_loss")
    assert run.info.end_time >= max(row.timestamp for row in rows)
    assert not processes_of(tmp_path)


@pytest.mark.parametrize(
    ("pipeline", "own", "number", "code", "batch"),
    [
        pytest.param("fashion", {}, signal.SIGTERM, 143, 5, marks=pytest.mark.slow),
        ("scratch_mnist", MLP, signal.SIGINT, 130, 60),
        pytest.param("scratch_mnist", MLP, signal.SIGTERM, 143, 60, marks=pytest.mark.slow),
    ],
)
def test_a_pipeline_that_is_asked_to_stop_in_its_third_epoch_is_killed_and_can_go_on(
    pipeline: str,
    own: dict[str, str],
    number: signal.Signals,
    code: int,
    batch: int,
    store_folder: Path,
) -> None:
    """A rate is asked for once more than there are batches, and once more than calls of Keras."""
    flags = [word for name, value in (ENDLESS | own).items() for word in (f"--{name}", value)]
    point = f"{number.name}@before:batch:{batch}"
    said = start("tests.failpoints", point, f"pipelines.{pipeline}", *flags, folder=store_folder)
    assert (said.returncode, said.stderr.count("\n")) == (code, 1)
    assert "epoch      1/100000" in said.stdout
    (run,) = runs(store_folder)
    assert run.info.status == "KILLED"
    assert epochs_of(store_folder) == 2

    again = begun(store_folder, pipeline, *flags, "--resume", "true")
    wait_until(lambda: epochs_of(store_folder) > 2, again)
    assert [run.info.status for run in runs(store_folder)] == ["RUNNING"]
    again.terminate()
    again.communicate()
