"""A suite on real data: what it leaves, what survives failures, kills and two machines."""

import signal
from pathlib import Path

import pandas as pd
import pytest
from mlflow.entities import Run

from pipelines.cnn_suite import Params
from tests.conftest import ROOT, read, runs, start
from tests.pipelines.families import (
    PARENT,
    Ended,
    begun,
    in_states,
    names,
    processes_of,
    wait_for_the_end,
    wait_until,
)
from trackml.errors import UsageError

BRIEF = ("--limit", "500", "--epochs", "2", "--validation_split", "0.02")
TWO = (*BRIEF, "--variants", "plain", "--optimizers", "adam,sgd")


@pytest.mark.parametrize("text", ["", ",", "adam,", "adam,all", "Adam", "adam;sgd"])
def test_other_names_are_refused(text: str) -> None:
    expected = "all, or some of adam, sgd, rmsprop with commas between"
    with pytest.raises(UsageError, match=f"^--optimizers {text}: expected {expected}$"):
        Params.parse({"optimizers": text})


def rank(run: Run) -> tuple[float, float]:
    return run.data.metrics["best_val_accuracy"], -run.data.metrics["best_val_loss"]


def of_variant(suite: Ended, variant: str) -> list[Run]:
    return [child for child in suite.children if child.data.params["variant"] == variant]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("suite")
    two = ("--variants", "plain,batchnorm", "--optimizers", "adam")
    seeds = ("--seeds", "2", "--seed", "5")
    said = start("pipelines.cnn_suite", *BRIEF, *two, *seeds, folder=folder)
    assert said.returncode == 0, said.stderr
    assert said.stderr == ""
    assert sum(line.startswith("trial ") for line in said.stdout.splitlines()) == 4
    for words in ("trial 4/4", "best on validation", "(n = 2)", "registered mnist version 2"):
        assert words in said.stdout
    return Ended(folder, said.stdout)


def test_each_trial_is_a_child_that_keeps_the_contract(finished: Ended) -> None:
    parent, children = finished.parent, finished.children
    assert parent.info.status == "FINISHED"
    assert str(parent.info.run_name).startswith("cnn_suite ")
    assert read(finished.folder).get_experiment(parent.info.experiment_id).name == "mnist"
    expected = [f"{v} adam seed {s}" for v in ("batchnorm", "plain") for s in (5, 6)]
    assert names(children) == expected
    for child in children:
        assert child.info.status == "FINISHED"
        assert child.info.experiment_id == parent.info.experiment_id
        assert child.data.tags["trackml.architecture"] == "cnn"
        assert child.data.tags["trackml.trial"] == child.info.run_name
        assert child.data.tags["mlflow.source.name"] == parent.data.tags["mlflow.source.name"]
        assert child.data.params["epochs"] == "2"
        assert child.data.params["learning_rate"] == "0.002"
        assert {"test_accuracy", "best_val_accuracy", "convergence_epoch"} <= set(
            child.data.metrics
        )


def test_the_table_is_that_of_the_runs(finished: Ended) -> None:
    table = finished.table("suite.csv").set_index("variant")
    for variant in ("plain", "batchnorm"):
        row = table.loc[variant]
        assert (row["optimizer"], row["n"]) == ("adam", 2)
        for score in ("best_val_accuracy", "test_accuracy"):
            values = pd.Series([run.data.metrics[score] for run in of_variant(finished, variant)])
            assert row[f"{score}_mean"] == pytest.approx(values.mean())
            assert row[f"{score}_std"] == pytest.approx(values.std())
    means = list(table["best_val_accuracy_mean"])
    assert means == sorted(means, reverse=True)
    page = finished.artifact("suite.md")
    assert f"best on validation: {table.index[0]} with adam" in page
    assert "±" in page
    assert finished.figures == {"heat_map", "validation_curves"}
    parent = finished.parent.data
    best = of_variant(finished, parent.params["variant"])
    assert parent.params["optimizer"] == "adam"
    for score in ("best_val_accuracy", "test_accuracy"):
        mean = pd.Series([run.data.metrics[score] for run in best]).mean()
        assert parent.metrics[score] == pytest.approx(mean)


def test_the_best_run_of_each_variant_is_registered_and_no_other(finished: Ended) -> None:
    client = read(finished.folder)
    versions = client.search_model_versions("name = 'mnist'")
    best = {}
    for variant in ("plain", "batchnorm"):
        best[variant] = max(of_variant(finished, variant), key=rank)
        held = client.get_model_version_by_alias("mnist", f"cnn-{variant}")
        assert held.run_id == best[variant].info.run_id
    assert {version.run_id for version in versions} == {run.info.run_id for run in best.values()}
    assert len(versions) == 2
    champion = client.get_run(str(client.get_model_version_by_alias("mnist", "champion").run_id))
    most = max(run.data.metrics["best_val_accuracy"] for run in best.values())
    assert champion.data.metrics["best_val_accuracy"] == most


@pytest.mark.slow
def test_a_trial_that_fails_marks_its_own_run_and_the_suite_goes_on(store_folder: Path) -> None:
    """With steps this large the loss of sgd is no number any more; adam survives it."""
    steps = ("--learning_rate", "1e6", "--precision", "float32")
    said = start("pipelines.cnn_suite", *TWO, *steps, folder=store_folder)
    assert said.returncode == 0, said.stderr
    suite = Ended(store_folder, said.stdout)
    states = {str(child.info.run_name): child.info.status for child in suite.children}
    assert states == {"plain adam seed 0": "FINISHED", "plain sgd seed 0": "FAILED"}
    assert suite.parent.info.status == "FINISHED"
    assert "1 of 2 trials failed" in suite.parent.data.tags["trackml.failure"]
    assert "failed: plain sgd seed 0: " in said.stdout
    assert "plain sgd seed 0" in suite.artifact("suite.md")


@pytest.mark.slow
def test_where_all_trials_fail_so_does_the_suite(store_folder: Path) -> None:
    flags = (*BRIEF, "--variants", "plain", "--optimizers", "sgd", "--learning_rate", "1e30")
    said = start("pipelines.cnn_suite", *flags, folder=store_folder)
    assert said.returncode == 1
    assert said.stderr.splitlines()[-1].startswith("error: 1 of 1 trials failed; the first, plain")
    assert {run.info.status for run in runs(store_folder)} == {"FAILED"}


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_a_signal_ends_the_suite_and_all_its_processes_with_true_states(
    number: signal.Signals, code: int, store_folder: Path
) -> None:
    process = begun(store_folder, "cnn_suite", *TWO, "--epochs", "100000")
    wait_until(lambda: in_states(store_folder, RUNNING=2), process)
    if Path("/proc/self/environ").exists():
        assert len(processes_of(store_folder)) > 3
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == code, errors
    assert errors.count("\n") == 1
    assert {run.info.status for run in runs(store_folder)} == {"KILLED"}
    wait_for_the_end(store_folder)


@pytest.mark.parametrize(
    "point",
    [
        "before:ray",
        pytest.param("before:ray_processes", marks=pytest.mark.slow),
        pytest.param("after:ray", marks=pytest.mark.slow),
    ],
)
def test_sigterm_while_ray_starts_is_told_from_a_failure(point: str, store_folder: Path) -> None:
    command = (f"SIGTERM@{point}", "pipelines.cnn_suite", *TWO)
    said = start("tests.failpoints", *command, folder=store_folder)
    assert (said.returncode, said.stderr) == (143, "error: terminated\n")


@pytest.mark.slow
def test_under_mlflow_run_a_resumed_suite_takes_over_the_children(store_folder: Path) -> None:
    # Where both look: `mlflow run` starts its program in the project's folder, not in this one.
    kept = {"TRACKML_RUNS_DIR": str(store_folder / "kept")}
    command = ("after:trial", "pipelines.cnn_suite", *TWO, "--concurrency", "1")
    said = start("tests.failpoints", *command, folder=store_folder, **kept)
    assert said.returncode == -signal.SIGKILL, said.stderr
    assert in_states(store_folder, FINISHED=1)
    old = Ended(store_folder, said.stdout).parent
    said = start(
        *("mlflow", "run", str(ROOT), "-e", "cnn_suite", "--env-manager", "local"),
        *("-P", "limit=500", "-P", "epochs=2", "-P", "variants=plain"),
        *("-P", "validation_split=0.02"),
        *("-P", "optimizers=adam,sgd", "-P", "resume=true"),
        folder=store_folder,
        **kept,
    )
    assert said.returncode == 0, said.stderr
    parents = [run for run in runs(store_folder) if PARENT not in run.data.tags]
    old, new = sorted(parents, key=lambda run: run.info.run_id != old.info.run_id)
    assert (old.info.status, old.data.tags["trackml.successor"]) == ("KILLED", new.info.run_id)
    children = [run for run in runs(store_folder) if run.data.tags.get(PARENT)]
    assert {child.data.tags[PARENT] for child in children} == {new.info.run_id}
    assert len(set(names(children))) == len(children) == 2
    assert {run.info.status for run in [new, *children]} == {"FINISHED"}


@pytest.mark.parametrize("pipeline", ["cnn_suite", pytest.param("cnn", marks=pytest.mark.slow)])
def test_a_gpu_that_is_not_there_is_refused_before_anything_is_made(
    pipeline: str, tmp_path: Path
) -> None:
    hidden = {"CUDA_VISIBLE_DEVICES": ""}  # those that this machine may have
    said = start(f"pipelines.{pipeline}", "--device", "cuda", folder=tmp_path, **hidden)
    assert said.returncode == 2
    assert said.stderr.startswith("error: --device cuda: ")
    assert said.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_unreachable_cluster_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    said = start("pipelines.cnn_suite", *TWO, "--ray_address", "127.0.0.1:9", folder=tmp_path)
    assert said.returncode == 1
    assert said.stderr.startswith("error: --ray_address 127.0.0.1:9: no Ray cluster answers there")
    assert said.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
