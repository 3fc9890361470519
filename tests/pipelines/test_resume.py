"""A training that was killed goes on, in each framework, and ends as one that nobody touched."""

import signal
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from pipelines import scratch_mnist
from tests.conftest import ROOT, execute, read, runs, start
from tests.failpoints import MOST_DELICATE, POINTS, STEPS, holder_of
from tests.pipelines.families import begun, wait_until
from trackml.backends import keep_triton_out
from trackml.data import load
from trackml.errors import AlreadyActive, TrackmlError

Whole = Callable[..., Path]

BRIEF = ("--limit", "3000", "--epochs", "6", "--validation_split", "0.02", "--seed", "7")
FLAGS = {
    "dense_mnist": (*BRIEF, "--hidden_units", "64", "--schedule", "plateau"),
    "cnn": (*BRIEF, "--variant", "dropout_batchnorm"),
    "scratch_mnist": (*BRIEF, "--model", "mlp", "--momentum", "0.5"),
}
ENDLESS = ("--limit", "3000", "--epochs", "100000", "--patience", "0", "--model", "mlp")
# Times; and MLmodel, among a model's files, has the time of its making.
VARYING = {
    *("epoch_seconds", "samples_per_second", "prediction_seconds_per_1000"),
    "model_size_bytes",
}


def values(flags: tuple[str, ...]) -> dict[str, str]:
    """The same flags, as `mlflow run` and a call of `main` have them."""
    return {flag[2:]: value for flag, value in zip(flags[::2], flags[1::2], strict=True)}


def resumed(flags: tuple[str, ...]) -> scratch_mnist.Params:
    return scratch_mnist.Params.parse(values(flags) | {"resume": True})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The folder of the one run of a pipeline with some flags, which nobody disturbs."""

    @cache
    def folder_of(pipeline: str, *flags: str) -> Path:
        folder = tmp_path_factory.mktemp("whole")
        # No fork: with another seed of hashes, and other random numbers of libraries.
        said = execute(sys.executable, "-m", f"pipelines.{pipeline}", *flags, folder=folder)
        assert said.returncode == 0, said.stderr
        return folder

    return folder_of


@pytest.mark.parametrize("step", STEPS)
def test_each_step_has_its_function(step: str) -> None:
    assert callable(getattr(*holder_of(step)))


def metric_rows(client: MlflowClient, run: Run) -> dict[str, list[tuple[int, float]]]:
    """What all metrics of a run were at each step, but for those that vary."""
    return {
        name: [(row.step, row.value) for row in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
        if name not in VARYING
    }


def epochs_of(folder: Path) -> int:
    """How many epochs MLflow knows of the newest run."""
    found = runs(folder) if (folder / "mlflow.db").exists() else []
    if not found:
        return 0
    history = read(folder).get_metric_history(found[-1].info.run_id, "val_loss")
    return len({row.step for row in history if row.step})


@pytest.fixture
def killed(empty_folder: Path) -> Run:
    """A run of `scratch_mnist` in an empty folder that was killed after its second epoch."""
    command = ("after:epoch:2", "pipelines.scratch_mnist", *FLAGS["scratch_mnist"])
    said = start("tests.failpoints", *command, folder=empty_folder)
    assert said.returncode == -signal.SIGKILL, said.stderr
    (run,) = runs(empty_folder)
    assert run.info.status == "RUNNING"
    assert epochs_of(empty_folder) == 2
    return run


def probabilities(folder: Path, run: Run) -> Any:
    """What the model of a run says to some images."""
    assert run.outputs
    (output,) = run.outputs.model_outputs
    keep_triton_out()
    files = read(folder).get_logged_model(output.model_id).artifact_location
    return mlflow.pyfunc.load_model(files).predict(load("mnist").test.images[:50].copy())


def check_same(broken: Path, whole: Path) -> Run:
    """Check that the one run of a folder is as the one of the other, which nobody has disturbed."""
    (run,), (undisturbed,) = runs(broken), runs(whole)
    assert run.info.status == "FINISHED"
    assert metric_rows(read(broken), run) == metric_rows(read(whole), undisturbed)
    np.testing.assert_array_equal(probabilities(broken, run), probabilities(whole, undisturbed))
    (version,) = read(broken).search_model_versions("name = 'mnist'")
    assert version.run_id == run.info.run_id
    champion = read(broken).get_model_version_by_alias("mnist", "champion")
    assert champion.version == version.version
    assert not list((broken / ".trackml" / "runs").iterdir())
    return run


@pytest.mark.parametrize(
    ("pipeline", "points"),
    [
        *(pytest.param(name, POINTS, marks=pytest.mark.slow) for name in FLAGS),
        ("scratch_mnist", MOST_DELICATE),
    ],
)
def test_killed_before_and_after_each_step_it_ends_as_if_it_had_not_been(
    pipeline: str, points: list[str], whole: Whole, tmp_path: Path
) -> None:
    command = (f"pipelines.{pipeline}", *FLAGS[pipeline], "--resume", "true")
    for point in points:
        said = start("tests.failpoints", point, *command, folder=tmp_path)
        assert said.returncode == -signal.SIGKILL, (point, said.stderr)
    said = start(*command, folder=tmp_path)
    assert said.returncode == 0, said.stderr
    run = check_same(tmp_path, whole(pipeline, *FLAGS[pipeline]))
    assert f"resume: run {run.info.run_id} goes on" in said.stderr
    assert "epoch 1/6" not in said.stdout


@pytest.mark.slow
def test_killed_twenty_times_at_random_it_ends_as_if_it_had_not_been(
    whole: Whole, tmp_path: Path
) -> None:
    """The moments are random; on a machine of any speed it stops and waits for its kill."""
    flags = (
        *("--limit", "3000", "--epochs", "600", "--patience", "0", "--model", "mlp"),
        *("--hidden_units", "256,256", "--learning_rate", "0.01"),
    )
    random = np.random.default_rng(8)
    for number in range(20):
        by = ("tests.failpoints", f"SIGSTOP@after:epoch:{29 * (number + 1)}")
        process = begun(tmp_path, "scratch_mnist", *flags, "--resume", "true", by=by)
        if random.random() < 0.7:  # else it may be killed before it trains
            assert process.stdout
            assert process.stdout.readline().startswith("epoch")
        time.sleep(random.uniform(0.0, 4.0))
        assert process.poll() is None, (number, process.communicate())
        process.kill()
        process.communicate()
    said = start("pipelines.scratch_mnist", *flags, "--resume", "true", folder=tmp_path)
    assert said.returncode == 0, said.stderr
    check_same(tmp_path, whole("scratch_mnist", *flags))


def test_a_run_that_another_process_is_at_work_on_is_not_continued(empty_folder: Path) -> None:
    process = begun(empty_folder, "scratch_mnist", *ENDLESS)
    wait_until(lambda: epochs_of(empty_folder) > 0, process)
    with pytest.raises(AlreadyActive, match=rf"another process \(\S+:{process.pid}, alive"):
        scratch_mnist.main(resumed(ENDLESS))
    process.terminate()
    process.communicate()
    assert process.returncode == 143
    assert [run.info.status for run in runs(empty_folder)] == ["KILLED"]


def test_under_mlflow_run_the_new_run_gets_the_whole_history(
    killed: Run, whole: Whole, empty_folder: Path
) -> None:
    """From another folder than the project's; and MLflow keeps a person's own text of a number."""
    flags = FLAGS["scratch_mnist"]
    given = values(flags) | {"learning_rate": "1e-1", "resume": "true"}
    said = start(
        *("mlflow", "run", str(ROOT), "-e", "scratch_mnist", "--env-manager", "local"),
        *(word for name, value in given.items() for word in ("-P", f"{name}={value}")),
        folder=empty_folder,
        TRACKML_RUNS_DIR=str(empty_folder / ".trackml" / "runs"),
    )
    assert said.returncode == 0, said.stderr
    client, undisturbed = read(empty_folder), whole("scratch_mnist", *flags)
    (new,) = (run for run in runs(empty_folder) if run.info.run_id != killed.info.run_id)
    old = client.get_run(killed.info.run_id)
    assert (old.info.status, old.data.tags["trackml.successor"]) == ("KILLED", new.info.run_id)
    assert metric_rows(client, new) == metric_rows(read(undisturbed), *runs(undisturbed))
    assert new.info.status == "FINISHED"
    assert str(new.info.run_name).startswith("scratch-mlp ")
    assert new.data.params["learning_rate"] == "1e-1"
    times = [
        {row.timestamp for row in client.get_metric_history(run.info.run_id, "val_loss")}
        for run in (old, new)
    ]
    assert times[0] < times[1]
    assert not list((empty_folder / ".trackml" / "runs").iterdir())


@pytest.mark.usefixtures("killed")
def test_what_is_damaged_is_named_and_nothing_starts_over(empty_folder: Path) -> None:
    params = resumed(FLAGS["scratch_mnist"])
    (folder,) = (empty_folder / ".trackml" / "runs").glob("*/")
    for name, what in (("checkpoint.npz", "the checkpoint "), ("run.json", "")):
        file = folder / name
        content = file.read_bytes()
        file.write_bytes(content[:100])
        with pytest.raises(TrackmlError, match=f"cannot read {what}{file}"):
            scratch_mnist.main(params)
        file.write_bytes(content)
    (folder / "checkpoint.npz").rename(folder / "away.npz")
    with pytest.raises(TrackmlError, match="there is no checkpoint of it in"):
        scratch_mnist.main(params)
    (folder / "away.npz").rename(folder / "checkpoint.npz")
    assert len(runs(empty_folder)) == 1
    scratch_mnist.main(params)
    (run,) = runs(empty_folder)
    assert run.info.status == "FINISHED"
    assert epochs_of(empty_folder) == 6


def test_a_folder_that_nobody_can_write_to_is_named_and_no_run_is_made(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_folder / "file").write_text("no folder")
    monkeypatch.setenv("TRACKML_RUNS_DIR", f"{empty_folder}/file/runs")
    with pytest.raises(TrackmlError, match=f"^cannot write to {empty_folder}/file/runs"):
        scratch_mnist.main(scratch_mnist.Params.parse(values(BRIEF)))
    assert not runs(empty_folder)
