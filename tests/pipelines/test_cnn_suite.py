"""A suite on real data: what it leaves, what survives failures, kills and two machines."""

import io
import signal
from pathlib import Path

import pandas as pd
import pytest
from mlflow.entities import Run

from tests.conftest import ROOT, read, runs, start
from tests.pipelines.families import (
    PARENT,
    artifact,
    begun,
    family,
    in_states,
    names,
    processes_of,
    wait_for_the_end,
    wait_until,
)

BRIEF = ("--limit", "500", "--epochs", "2", "--validation_split", "0.02")
TWO = (*BRIEF, "--variants", "plain", "--optimizers", "adam,sgd")


def rank(run: Run) -> tuple[float, float]:
    return run.data.metrics["best_val_accuracy"], -run.data.metrics["best_val_loss"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> "tuple[Path, str]":
    folder = tmp_path_factory.mktemp("suite")
    two = ("--variants", "plain,batchnorm", "--optimizers", "adam")
    seeds = ("--seeds", "2", "--seed", "5")
    said = start("pipelines.cnn_suite", *BRIEF, *two, *seeds, folder=folder)
    assert said.returncode == 0, said.stderr
    assert said.stderr == ""
    return folder, said.stdout


def test_each_trial_is_a_child_that_keeps_the_contract(finished: tuple[Path, str]) -> None:
    parent, children = family(finished[0])
    assert (parent.info.status, parent.info.run_name) == ("FINISHED", "cnn_suite")
    assert read(finished[0]).get_experiment(parent.info.experiment_id).name == "mnist"
    expected = [f"{v} adam seed {s}" for v in ("batchnorm", "plain") for s in (5, 6)]
    assert names(children) == expected
    for child in children:
        assert child.info.status == "FINISHED"
        assert child.info.experiment_id == parent.info.experiment_id
        assert child.data.tags["trackml.architecture"] == "cnn"
        assert child.data.tags["mlflow.source.name"] == parent.data.tags["mlflow.source.name"]
        assert child.data.params["epochs"] == "2"
        assert child.data.params["learning_rate"] == "0.002"
        assert {"test_accuracy", "best_val_accuracy", "convergence_epoch"} <= set(
            child.data.metrics
        )


def test_the_table_is_that_of_the_runs(finished: tuple[Path, str]) -> None:
    parent, children = family(finished[0])
    table = pd.read_csv(io.StringIO(artifact(parent, "suite.csv"))).set_index("variant")
    for variant in ("plain", "batchnorm"):
        own = [child.data.metrics for child in children if child.data.params["variant"] == variant]
        row = table.loc[variant]
        assert (row["optimizer"], row["n"]) == ("adam", 2)
        for score in ("best_val_accuracy", "test_accuracy"):
            values = pd.Series([metrics[score] for metrics in own])
            assert row[f"{score}_mean"] == pytest.approx(values.mean())
            assert row[f"{score}_std"] == pytest.approx(values.std())
    assert list(table["best_val_accuracy_mean"]) == sorted(
        table["best_val_accuracy_mean"], reverse=True
    )
    page = artifact(parent, "suite.md")
    assert f"best on validation: {table.index[0]} with adam" in page
    assert "±" in page
    drawn = read(finished[0]).list_artifacts(parent.info.run_id, "figures")
    assert {file.path for file in drawn} == {
        "figures/heat_map.png",
        "figures/validation_curves.png",
    }


def test_the_best_run_of_each_variant_is_registered_and_no_other(
    finished: tuple[Path, str],
) -> None:
    _, children = family(finished[0])
    client = read(finished[0])
    versions = client.search_model_versions("name = 'mnist'")
    best = {}
    for variant in ("plain", "batchnorm"):
        own = [child for child in children if child.data.params["variant"] == variant]
        best[variant] = max(own, key=rank)
        held = client.get_model_version_by_alias("mnist", f"cnn-{variant}")
        assert held.run_id == best[variant].info.run_id
    assert {version.run_id for version in versions} == {run.info.run_id for run in best.values()}
    assert len(versions) == 2
    champion = client.get_run(str(client.get_model_version_by_alias("mnist", "champion").run_id))
    most = max(run.data.metrics["best_val_accuracy"] for run in best.values())
    assert champion.data.metrics["best_val_accuracy"] == most


def test_a_person_reads_a_line_per_trial_and_the_table(finished: tuple[Path, str]) -> None:
    said = finished[1]
    assert sum(line.startswith("trial ") for line in said.splitlines()) == 4
    assert "trial 4/4" in said
    for words in ("best on validation", "(n = 2)", "registered mnist version 2", "mlflow ui"):
        assert words in said


@pytest.mark.slow
def test_a_trial_that_fails_marks_its_own_run_and_the_suite_goes_on(tmp_path: Path) -> None:
    """With steps this large the loss of sgd is no number any more; adam survives it."""
    steps = ("--learning_rate", "1e6", "--precision", "float32")
    said = start("pipelines.cnn_suite", *TWO, *steps, folder=tmp_path)
    assert said.returncode == 0, said.stderr
    parent, children = family(tmp_path)
    states = {str(child.info.run_name): child.info.status for child in children}
    assert states == {"plain adam seed 0": "FINISHED", "plain sgd seed 0": "FAILED"}
    assert parent.info.status == "FINISHED"
    assert "1 of 2 trials failed" in parent.data.tags["trackml.failure"]
    assert "failed: plain sgd seed 0: " in said.stdout
    assert "plain sgd seed 0" in artifact(parent, "suite.md")


@pytest.mark.slow
def test_where_all_trials_fail_so_does_the_suite(tmp_path: Path) -> None:
    flags = (*BRIEF, "--variants", "plain", "--optimizers", "sgd", "--learning_rate", "1e30")
    said = start("pipelines.cnn_suite", *flags, folder=tmp_path)
    assert said.returncode == 1
    assert said.stderr.splitlines()[-1].startswith("error: 1 of 1 trials failed; the first, plain")
    assert {run.info.status for run in runs(tmp_path)} == {"FAILED"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_suite_and_all_its_processes_with_true_states(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    process = begun(tmp_path, "cnn_suite", *TWO, "--epochs", "100000")
    wait_until(lambda: in_states(tmp_path, RUNNING=2), process)
    if Path("/proc/self/environ").exists():
        assert len(processes_of(tmp_path)) > 3
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == code, errors
    assert errors.count("\n") == 1
    assert {run.info.status for run in runs(tmp_path)} == {"KILLED"}
    wait_for_the_end(tmp_path)


@pytest.mark.parametrize("point", ["before:ray", "before:ray_processes", "after:ray"])
def test_sigterm_while_ray_starts_is_told_from_a_failure(point: str, tmp_path: Path) -> None:
    command = (f"SIGTERM@{point}", "pipelines.cnn_suite", *TWO)
    said = start("tests.failpoints", *command, folder=tmp_path)
    assert (said.returncode, said.stderr) == (143, "error: terminated\n")


@pytest.mark.slow
def test_under_mlflow_run_a_resumed_suite_takes_over_the_children(tmp_path: Path) -> None:
    command = ("after:trial", "pipelines.cnn_suite", *TWO, "--concurrency", "1")
    said = start("tests.failpoints", *command, folder=tmp_path)
    assert said.returncode == -signal.SIGKILL, said.stderr
    assert in_states(tmp_path, FINISHED=1)
    old, _ = family(tmp_path)
    said = start(
        *("mlflow", "run", str(ROOT), "-e", "cnn_suite", "--env-manager", "local"),
        *("-P", "limit=500", "-P", "epochs=2", "-P", "variants=plain"),
        *("-P", "validation_split=0.02"),
        *("-P", "optimizers=adam,sgd", "-P", "resume=true"),
        folder=tmp_path,
    )
    assert said.returncode == 0, said.stderr
    (new,) = (
        run
        for run in runs(tmp_path)
        if PARENT not in run.data.tags and run.info.run_id != old.info.run_id
    )
    old = read(tmp_path).get_run(old.info.run_id)
    assert (old.info.status, old.data.tags["trackml.successor"]) == ("KILLED", new.info.run_id)
    children = [run for run in runs(tmp_path) if run.data.tags.get(PARENT)]
    assert {child.data.tags[PARENT] for child in children} == {new.info.run_id}
    assert len(set(names(children))) == len(children) == 2
    assert {run.info.status for run in [new, *children]} == {"FINISHED"}


@pytest.mark.slow
def test_a_cluster_of_two_machines_runs_the_suite(two_nodes: str, tmp_path: Path) -> None:
    said = start("pipelines.cnn_suite", *TWO, "--ray_address", two_nodes, folder=tmp_path)
    assert said.returncode == 0, said.stderr
    parent, children = family(tmp_path)
    assert len(set(names(children))) == len(children) == 2
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}
    assert len({child.data.tags["trackml.ray_node"] for child in children}) == 2


@pytest.mark.parametrize("pipeline", ["cnn", "cnn_suite"])
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
