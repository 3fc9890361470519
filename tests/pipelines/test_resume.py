"""A training that was killed goes on, in each framework, and ends as one that nobody touched."""

import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from tests.conftest import ROOT, read, runs, start
from tests.failpoints import MOST_DELICATE, POINTS
from tests.pipelines.families import begun, wait_until
from trackml.data import load

BRIEF = ("--limit", "3000", "--epochs", "6", "--validation_split", "0.02", "--seed", "7")
PIPELINES = {
    "dense_mnist": ("--hidden_units", "64", "--schedule", "plateau"),
    "cnn": ("--variant", "dropout_batchnorm"),
    "scratch_mnist": ("--model", "mlp", "--momentum", "0.5"),
}
# Times; and MLmodel, among a model's files, has the time of its making.
VARYING = {
    *("epoch_seconds", "samples_per_second", "prediction_seconds_per_1000"),
    "model_size_bytes",
}


def metric_rows(client: MlflowClient, run: Run) -> dict[str, list[tuple[int, float]]]:
    """What all metrics of a run were at each step, but for those that vary."""
    return {
        name: [(row.step, row.value) for row in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
        if name not in VARYING
    }


def epochs_of(folder: Path) -> int:
    """How many epochs MLflow knows of the newest run."""
    if not (folder / "mlflow.db").exists():
        return 0
    found = runs(folder)
    metrics: dict[str, Any] = {}
    if found:
        history = read(folder).get_metric_history(found[-1].info.run_id, "val_loss")
        metrics = {str(row.step): row for row in history if row.step}
    return len(metrics)


def killed(folder: Path, pipeline: str, flags: tuple[str, ...], after: int) -> None:
    """Begin or resume a pipeline, which is killed once MLflow knows of that many epochs."""
    command = (f"after:epoch:{after}", f"pipelines.{pipeline}", *flags)
    said = start("tests.failpoints", *command, folder=folder)
    assert said.returncode == -signal.SIGKILL, said.stderr
    assert epochs_of(folder) == after


def undisturbed(folder: Path, pipeline: str, flags: tuple[str, ...]) -> Run:
    folder.mkdir()
    said = start(f"pipelines.{pipeline}", *flags, folder=folder)
    assert said.returncode == 0, said.stderr
    (run,) = runs(folder)
    return run


def probabilities(folder: Path, run: Run) -> Any:
    """What the model of a run says to some images, asked in a process of its own."""
    assert run.outputs
    np.save(folder / "images.npy", load("mnist").test.images[:50])
    (folder / "ask.py").write_text(
        "import mlflow, numpy as np\n"
        "mlflow.set_tracking_uri('sqlite:///mlflow.db')\n"
        f"model = mlflow.pyfunc.load_model('models:/{run.outputs.model_outputs[-1].model_id}')\n"
        "np.save('answers.npy', model.predict(np.load('images.npy')))\n"
    )
    said = start("ask", folder=folder, PYTHONPATH=".")
    assert said.returncode == 0, said.stderr
    return np.load(folder / "answers.npy")


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", list(PIPELINES))
def test_killed_twice_and_resumed_it_ends_as_if_it_had_not_been(
    pipeline: str, tmp_path: Path
) -> None:
    flags = (*BRIEF, *PIPELINES[pipeline])
    undisturbed(tmp_path / "whole", pipeline, flags)
    broken = tmp_path / "broken"
    broken.mkdir()
    killed(broken, pipeline, flags, after=1)
    assert [run.info.status for run in runs(broken)] == ["RUNNING"]
    resume = (*flags, "--resume", "true")
    killed(broken, pipeline, resume, after=3)

    said = start(f"pipelines.{pipeline}", *resume, folder=broken)
    assert said.returncode == 0, said.stderr
    run = check_same(broken, tmp_path / "whole")
    assert f"resume: run {run.info.run_id} goes on" in said.stderr
    assert "epoch 1/6" not in said.stdout


def check_same(broken: Path, whole: Path) -> Run:
    """Check that the one run of a folder is as the one of the other, which nobody has disturbed."""
    (run,), (undisturbed_run,) = runs(broken), runs(whole)
    assert run.info.status == "FINISHED"
    assert metric_rows(read(broken), run) == metric_rows(read(whole), undisturbed_run)
    np.testing.assert_array_equal(probabilities(broken, run), probabilities(whole, undisturbed_run))
    assert run.outputs
    assert len(run.outputs.model_outputs) == 1
    (version,) = read(broken).search_model_versions("name = 'mnist'")
    assert version.run_id == run.info.run_id
    champion = read(broken).get_model_version_by_alias("mnist", "champion")
    assert champion.version == version.version
    assert not list((broken / ".trackml" / "runs").iterdir())
    return run


@pytest.mark.parametrize(
    ("pipeline", "points"),
    [
        *(pytest.param(name, POINTS, marks=pytest.mark.slow) for name in PIPELINES),
        ("scratch_mnist", MOST_DELICATE),
    ],
)
def test_killed_before_and_after_each_step_it_ends_as_if_it_had_not_been(
    pipeline: str, points: list[str], tmp_path: Path
) -> None:
    flags = (*BRIEF, *PIPELINES[pipeline])
    undisturbed(tmp_path / "whole", pipeline, flags)
    broken = tmp_path / "broken"
    broken.mkdir()
    command = (f"pipelines.{pipeline}", *flags, "--resume", "true")
    for point in points:
        said = start("tests.failpoints", point, *command, folder=broken)
        assert said.returncode == -signal.SIGKILL, (point, said.stderr)
    said = start(*command, folder=broken)
    assert said.returncode == 0, said.stderr
    check_same(broken, tmp_path / "whole")


@pytest.mark.slow
def test_killed_twenty_times_at_random_it_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    """The moments are random; on a machine of any speed it stops and waits for its kill."""
    flags = (
        *(*BRIEF[:2], "--epochs", "600", "--patience", "0", "--model", "mlp"),
        *("--hidden_units", "256,256", "--learning_rate", "0.01"),
    )
    undisturbed(tmp_path / "whole", "scratch_mnist", flags)
    broken = tmp_path / "broken"
    broken.mkdir()
    random = np.random.default_rng(8)
    for number in range(20):
        by = ("tests.failpoints", f"SIGSTOP@after:epoch:{29 * (number + 1)}")
        process = begun(broken, "scratch_mnist", *flags, "--resume", "true", by=by)
        if random.random() < 0.7:  # else it may be killed before it trains
            assert process.stdout
            assert process.stdout.readline().startswith("epoch")
        time.sleep(random.uniform(0.0, 4.0))
        assert process.poll() is None, (number, process.communicate())
        process.kill()
        process.communicate()
    said = start("pipelines.scratch_mnist", *flags, "--resume", "true", folder=broken)
    assert said.returncode == 0, said.stderr
    check_same(broken, tmp_path / "whole")


def test_a_run_that_another_process_is_at_work_on_is_not_continued(tmp_path: Path) -> None:
    flags = (*BRIEF[:2], "--epochs", "100000", "--patience", "0", "--model", "mlp")
    process = begun(tmp_path, "scratch_mnist", *flags)
    wait_until(lambda: epochs_of(tmp_path) > 0, process)
    said = start("pipelines.scratch_mnist", *flags, "--resume", "true", folder=tmp_path)
    assert said.returncode == 75
    assert f"another process ({process.pid}) is at work on run" in said.stderr
    process.terminate()
    process.communicate()
    assert process.returncode == 143
    assert [run.info.status for run in runs(tmp_path)] == ["KILLED"]


def test_under_mlflow_run_the_new_run_gets_the_whole_history(tmp_path: Path) -> None:
    flags = (*BRIEF, "--model", "mlp")
    whole = undisturbed(tmp_path / "whole", "scratch_mnist", flags)
    broken = tmp_path / "broken"
    broken.mkdir()
    killed(broken, "scratch_mnist", flags, after=2)
    (old,) = runs(broken)
    given = dict(zip((flag[2:] for flag in flags[::2]), flags[1::2], strict=True))
    said = start(
        *("mlflow", "run", str(ROOT), "-e", "scratch_mnist", "--env-manager", "local"),
        *(word for name, value in given.items() for word in ("-P", f"{name}={value}")),
        *("-P", "resume=true"),
        folder=broken,
        TRACKML_RUNS_DIR=str(broken / ".trackml" / "runs"),
    )
    assert said.returncode == 0, said.stderr
    (new,) = (run for run in runs(broken) if run.info.run_id != old.info.run_id)
    old = read(broken).get_run(old.info.run_id)
    assert (old.info.status, old.data.tags["trackml.successor"]) == ("KILLED", new.info.run_id)
    assert metric_rows(read(broken), new) == metric_rows(read(tmp_path / "whole"), whole)
    times = [
        {row.timestamp for row in read(broken).get_metric_history(run.info.run_id, "val_loss")}
        for run in (old, new)
    ]
    assert times[0] < times[1]
    assert not list((broken / ".trackml" / "runs").iterdir())


def test_a_damaged_checkpoint_is_named_and_nothing_starts_over(tmp_path: Path) -> None:
    flags = (*BRIEF, "--model", "mlp")
    killed(tmp_path, "scratch_mnist", flags, after=2)
    (file,) = (tmp_path / ".trackml" / "runs").rglob("checkpoint.npz")
    content = file.read_bytes()
    file.write_bytes(content[:1000])
    said = start("pipelines.scratch_mnist", *flags, "--resume", "true", folder=tmp_path)
    assert said.returncode == 1
    assert f"cannot read the checkpoint {file}" in said.stderr
    assert len(runs(tmp_path)) == 1

    file.unlink()
    said = start("pipelines.scratch_mnist", *flags, "--resume", "true", folder=tmp_path)
    assert said.returncode == 1
    assert "there is no checkpoint of it in" in said.stderr

    file.write_bytes(content)
    said = start("pipelines.scratch_mnist", *flags, "--resume", "true", folder=tmp_path)
    assert said.returncode == 0, said.stderr
    (run,) = runs(tmp_path)
    assert run.info.status == "FINISHED"


def test_a_folder_that_nobody_can_write_to_is_named_and_no_run_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    said = start(
        *("pipelines.scratch_mnist", *BRIEF),
        folder=tmp_path,
        TRACKML_RUNS_DIR=str(tmp_path / "file" / "runs"),
    )
    assert said.returncode == 1
    assert f"error: cannot write to {tmp_path}/file/runs/" in said.stderr
    assert said.stderr.count("\n") == 1
    assert not runs(tmp_path)
