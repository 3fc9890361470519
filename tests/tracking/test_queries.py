"""Reading MLflow: what is read of runs, which of them, and child runs."""

import gc
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from tests.tracking.toy import HISTORY, Store, finish, network
from trackml.comparison.runs import run_table
from trackml.comparison.side_by_side import with_best_epoch
from trackml.errors import Pruned
from trackml.evaluation.report import Report
from trackml.tracking import queries
from trackml.tracking.outbox import FAILURE_TAG
from trackml.tracking.queries import (
    ParentRun,
    child_runs,
    finished_runs,
    search_runs,
    state_of,
    tasks_with_runs,
    values_by_epoch,
)
from trackml.tracking.run import Run


def made(
    client: MlflowClient,
    params: Mapping[str, str] = {},
    *,
    tags: Mapping[str, str] = {},
    curves: Mapping[str, list[float]] = {},
    status: str = "FINISHED",
) -> str:
    """A run as `cnn` leaves it, but for what is said otherwise; its id."""
    run_id = str(client.create_run("0").info.run_id)
    names = {"trackml.framework": "torch", "trackml.task": "mnist", "trackml.architecture": "cnn"}
    sums = {"trackml.data_sha256": "sum", "trackml.device": "cpu", "trackml.precision": "float32"}
    client.log_batch(
        run_id,
        [Metric("train_accuracy", 0.5, 0, 0), Metric("best_epoch", 2, 0, 0)]
        + [
            Metric(name, score, 0, epoch)
            for name, values in curves.items()
            for epoch, score in enumerate(values, start=1)
        ],
        [Param(*each) for each in ({"seed": "0"} | dict(params)).items()],
        [RunTag(*each) for each in (names | sums | dict(tags)).items()],
    )
    client.set_terminated(run_id, status)
    return run_id


def test_all_finished_runs_of_the_task_with_what_they_have_logged(client: MlflowClient) -> None:
    assert finished_runs(client, "mnist") == []
    torch = made(client)
    made(client, status="FAILED")
    made(client, tags={"trackml.task": "fashion_mnist"})
    made(client, tags={"trackml.trials": "4"})  # a sweep
    curves = {"train_loss": [3.0, 2.0]}
    keras = made(client, {"seed": "1e0"}, tags={"trackml.framework": "keras"}, curves=curves)
    runs = {run.run_id: run for run in finished_runs(client, "mnist")}
    assert runs.keys() == {torch, keras}
    assert [runs[each].tags["trackml.framework"] for each in (torch, keras)] == ["torch", "keras"]
    assert [runs[each].params["seed"] for each in (torch, keras)] == ["0", "1e0"]
    assert runs[keras].metrics == {**runs[torch].metrics, "train_loss": 2.0}
    assert tasks_with_runs(client) == ["fashion_mnist", "mnist"]


def test_training_scores_are_those_of_the_best_epoch_unless_there_is_one_only(
    client: MlflowClient,
) -> None:
    curves = {"train_loss": [3.0, 2.0, 1.0], "epoch_seconds": [5.0, 5.0, 5.0]}
    made(client, curves={**curves, "train_accuracy": [0.7, 0.8, 0.9]})
    client.log_metric(made(client, curves=curves), "frozen_seconds", 100.0)
    values = partial(values_by_epoch, client)
    runs = run_table(finished_runs(client, "mnist"))
    table = with_best_epoch(values, runs).sort_values("seconds")
    scores = table[["train_loss", "train_accuracy", "seconds"]].to_numpy().tolist()
    assert scores == [[2, 0.8, 15], [2, 0.5, 115]]


def test_all_runs_are_found_however_many_pages_they_take(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "_PAGE", 2)
    ids = [made(client) for _ in range(5)]
    for newest_first in (True, False):
        runs = search_runs(client, "metrics.best_epoch = 2", newest_first=newest_first)
        starts = [run.info.start_time for run in runs]
        assert starts == sorted(starts, reverse=newest_first)
        assert {run.info.run_id for run in runs} == set(ids)
    assert len(search_runs(client, max_runs=3)) == 3


def test_reading_runs_collects_no_garbage(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(client)
    collects: list[bool] = []
    read = client.search_runs

    def reading(*args: Any, **options: Any) -> Any:
        collects.append(gc.isenabled())
        return read(*args, **options)

    monkeypatch.setattr(client, "search_runs", reading)
    assert len(search_runs(client)) == len(search_runs(client, max_runs=1)) == 1
    assert collects == [False, False]
    assert gc.isenabled()


def test_the_nearest_baseline_is_the_newest_whose_parameters_differ_least(store: Store) -> None:
    for accuracy, epochs, seed in ((0.1, 3, 0), (0.2, 2, 0), (0.3, 4, 2)):
        with store.tracked(epochs=epochs, seed=seed) as run:
            run.log_report(Report({"test_accuracy": accuracy}))
    store.failed()
    with store.tracked("cnn-aug") as run:
        nearest = run.nearest_baseline("cnn", ["test_accuracy"])
        assert run.nearest_baseline("cnn", ["test_accuracy", "test_loss"]) is None
        assert run.nearest_baseline("dense", ["test_accuracy"]) is None
    assert nearest
    assert (nearest.metrics, nearest.differences) == ({"test_accuracy": 0.2}, ())
    with store.tracked("cnn-aug", epochs=5, seed=2, register=False) as run:
        nearest = run.nearest_baseline("cnn", ["test_accuracy"])
    assert nearest
    assert (nearest.metrics, nearest.differences) == ({"test_accuracy": 0.3}, ("epochs",))


def trial(store: Store, run: Run, name: str) -> str:
    with store.tracked("dense", parent=run.as_parent().of_trial(name)) as own:
        own.log_report(Report({"test_accuracy": 0.5}))
        for epoch in (0, 1, 2):
            own.log_epoch(epoch, {"val_accuracy": epoch / 10})
    return own.run_id


def bare(store: Store, parent: ParentRun) -> str:
    """The id of a trial's run of which a process has not logged anything yet."""
    run = store.client.create_run(
        parent.experiment_id, tags=parent.child_tags, run_name=parent.trial
    )
    return str(run.info.run_id)


def test_a_child_goes_below_its_parent_whatever_mlflow_run_says(store: Store) -> None:
    with store.tracked() as run:
        parent = store.run()
        store.monkeypatch.setenv("MLFLOW_RUN_ID", run.run_id)
        store.monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
        own = store.run(trial(store, run, "first"))
        assert (own.info.run_name, own.info.experiment_id) == ("first", parent.info.experiment_id)
        assert own.data.tags["mlflow.parentRunId"] == run.run_id
        assert own.data.tags["mlflow.source.name"] == parent.data.tags["mlflow.source.name"]
    assert store.status(run.run_id) == "FINISHED"


def test_children_make_a_table(store: Store) -> None:
    with store.tracked() as run:
        assert {"run_id", "state", "epochs"} <= set(run.child_table(params=["epochs"]).columns)
        first = trial(store, run, "first")
        second = bare(store, run.as_parent(scores_test=False).of_trial("second", node="a"))
        table = run.child_table(
            params=["epochs"], metrics=["test_accuracy"], curves=["val_accuracy"]
        )
    assert table.drop(columns="ended").iloc[0].to_dict() == {
        "run_id": first,
        "name": "first",
        "state": "finished",
        "is_candidate": False,
        "epochs": "2",
        "test_accuracy": 0.5,
        "val_accuracy": [0.1, 0.2],
    }
    row = table.iloc[1]
    assert (row["run_id"], row["state"], row["is_candidate"]) == (second, "running", True)
    assert row["val_accuracy"] == []
    assert row[["epochs", "test_accuracy"]].isna().all()
    assert store.tags(second)["trackml.ray_node"] == "a"


def test_a_candidate_is_not_scored_on_the_test_data_and_keeps_no_model(store: Store) -> None:
    def evaluate(*_: object) -> Report:
        raise AssertionError("it has seen the test data")

    with store.tracked() as run:
        parent = run.as_parent(scores_test=False).of_trial("first")
        with store.tracked("dense", parent=parent) as own:
            assert own.nearest_baseline("cnn", ["test_accuracy"]) is None
            result = own.finish(network(store.data), HISTORY, evaluate, None)
        assert finish(run).report.metrics == {"test_accuracy": 0.3}
    assert (result.report, result.registration) == (Report(), None)
    logged = store.run(own.run_id)
    assert logged.info.status == "FINISHED"
    assert logged.data.metrics["best_val_accuracy"] == 0.4
    assert not [name for name in logged.data.metrics if name.startswith("test_")]
    assert not logged.outputs or not logged.outputs.model_outputs
    versions = store.client.search_model_versions("name = 'blobs'")
    assert [version.run_id for version in versions] == [run.run_id]


def test_a_pruned_run_is_killed_says_so_and_is_not_run_again(store: Store) -> None:
    with store.tracked() as run:
        parent = run.as_parent()
        with suppress(Pruned), store.tracked("dense", parent=parent.of_trial("first")):
            raise Pruned(1)
        queries.mark_pruned(store.client, bare(store, parent.of_trial("second")), 1)
        half = bare(store, parent.of_trial("third"))  # it had no time to end
        store.client.set_tag(half, queries.PRUNED_TAG, "after epoch 1")
        left = queries.delete_unfinished_children(store.client, run.run_id)
        children = child_runs(store.client, run.run_id)
    assert len(left) == len(children) == 3
    for child in children:
        assert (child.info.status, state_of(child)) == ("KILLED", "pruned")
        assert child.data.tags["trackml.pruned"] == "after epoch 1"
        assert FAILURE_TAG not in child.data.tags


def test_dead_children_are_marked_and_unfinished_ones_deleted(store: Store) -> None:
    with store.tracked() as run:
        first = trial(store, run, "first")
        dead = bare(store, run.as_parent().of_trial("second"))
        queries.create_failed_child(store.client, run.as_parent().of_trial("third"), "no data")
        queries.end_dead_children(store.client, run.run_id, "FAILED", "its process died")
        children = child_runs(store.client, run.run_id)
        assert [(child.info.run_name, child.info.status) for child in children] == [
            *(("first", "FINISHED"), ("second", "FAILED"), ("third", "FAILED"))
        ]
        reasons = [child.data.tags.get(FAILURE_TAG) for child in children]
        assert reasons == [None, "its process died", "no data"]
        (left,) = queries.delete_unfinished_children(store.client, run.run_id)
        assert [each.info.run_id for each in child_runs(store.client, run.run_id)] == [first]
    assert left.info.run_id == first
    assert store.run(dead).info.lifecycle_stage == "deleted"
