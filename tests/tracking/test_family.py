"""Runs below a run: where they go, and what becomes of those that did not end well."""

from contextlib import suppress
from typing import Any

import pytest
from mlflow.entities import Run as MlflowRun
from mlflow.tracking import MlflowClient

from trackml.data import ImageData
from trackml.errors import AlreadyActive, Pruned, TrackmlError
from trackml.evaluation.report import Report
from trackml.fields import BatchSize, Epochs, LearningRate
from trackml.history import History
from trackml.params import TrainingParams
from trackml.tracking import family
from trackml.tracking.claims import claimed
from trackml.tracking.run import tracked_run


class Suite(TrainingParams):
    epochs: Epochs = 2
    batch_size: BatchSize = 8
    learning_rate: LearningRate = 0.001


def suite(data: ImageData, **values: Any) -> Any:
    return tracked_run(Suite.parse(values), data, framework="keras", architecture="suite")


def child(data: ImageData, parent: MlflowRun, name: str) -> str:
    with (
        family.placed(family.place_below(parent, name)),
        tracked_run(Suite.parse({}), data, framework="keras", architecture="cnn") as run,
    ):
        run.log_report(Report({"test_accuracy": 0.5}))
        for epoch in (1, 2):
            run.log_epoch(epoch, {"val_accuracy": epoch / 10})
    return run.run_id


def failed(data: ImageData, *children: str, **values: Any) -> str:
    """The id of a suite that an error has ended, after these children."""
    with suppress(ValueError), suite(data, **values) as run:
        for name in children:
            child(data, run.client.get_run(run.run_id), name)
        raise ValueError("broken")
    return str(run.run_id)


def states(client: MlflowClient, parent: MlflowRun) -> dict[str, str]:
    return {str(c.info.run_name): c.info.status for c in family.children(client, parent)}


def test_a_child_goes_below_its_parent_whatever_mlflow_run_says(
    client: MlflowClient, blobs: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    with suite(blobs) as run:
        parent = client.get_run(run.run_id)
        monkeypatch.setenv("MLFLOW_RUN_ID", run.run_id)
        monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
        own = client.get_run(child(blobs, parent, "first"))
        assert (own.info.run_name, own.info.experiment_id) == ("first", parent.info.experiment_id)
        assert own.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert own.data.tags["mlflow.source.name"] == parent.data.tags["mlflow.source.name"]
    assert client.get_run(run.run_id).info.status == "FINISHED"


def test_children_make_a_table(client: MlflowClient, blobs: ImageData) -> None:
    with suite(blobs) as run:
        parent = client.get_run(run.run_id)
        first = child(blobs, parent, "first")
        place = family.place_below(parent, "second", scores_test=False)
        second = client.create_run(parent.info.experiment_id, tags=place.tags).info.run_id
        table = run.trials(params=["epochs"], metrics=["test_accuracy"], curves=["val_accuracy"])
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


def test_a_table_without_children_has_its_columns(client: MlflowClient, blobs: ImageData) -> None:
    with suite(blobs) as run:
        table = run.trials(params=["epochs"])
    assert table.empty
    assert {"run_id", "state", "epochs"} <= set(table.columns)


def test_a_candidate_is_not_scored_on_the_test_data_and_keeps_no_model(
    client: MlflowClient, blobs: ImageData
) -> None:
    def evaluate(answer: float) -> Report:
        raise AssertionError("it has seen the test data")

    row = {"train_loss": 1.0, "val_loss": 1.0, "val_accuracy": 0.5}
    with suite(blobs) as run:
        place = family.place_below(client.get_run(run.run_id), "first", scores_test=False)
        with (
            family.placed(place),
            tracked_run(Suite.parse({}), blobs, framework="keras", architecture="cnn") as own,
        ):
            report = own.evaluate(evaluate, 1.0)
            assert report == Report()
            assert own.closest("dense", ["test_accuracy"]) is None
            result = own.log_result(object(), History("accuracy", "float32").extended(row), report)
        outside = run.evaluate(lambda answer: Report({"test_accuracy": answer}), 0.5)
    assert outside.metrics == {"test_accuracy": 0.5}
    assert result.registration is None
    logged = client.get_run(own.run_id)
    assert logged.info.status == "FINISHED"
    assert logged.data.metrics["best_val_accuracy"] == 0.5
    assert not [name for name in logged.data.metrics if name.startswith("test_")]
    assert not logged.outputs or not logged.outputs.model_outputs
    assert not client.search_registered_models()


def test_a_pruned_run_is_killed_says_so_and_is_not_discarded(
    client: MlflowClient, blobs: ImageData
) -> None:
    with suite(blobs) as run:
        parent = client.get_run(run.run_id)
        with (
            suppress(Pruned),
            family.placed(family.place_below(parent, "first")),
            tracked_run(Suite.parse({}), blobs, framework="keras", architecture="cnn") as own,
        ):
            raise Pruned(1)
        family.discard_unfinished(client, parent)
        (left,) = family.children(client, parent)
    assert (left.info.run_id, left.info.status) == (own.run_id, "KILLED")
    assert left.data.tags["trackml.pruned"] == "after epoch 1"
    assert "trackml.failure" not in left.data.tags
    assert family.state_of(left) == "pruned"


def test_orphans_are_ended_and_what_did_not_finish_goes_to_the_trash(
    client: MlflowClient, blobs: ImageData
) -> None:
    with suite(blobs) as run:
        parent = client.get_run(run.run_id)
        child(blobs, parent, "first")
        place = family.place_below(parent, "second")
        orphan = client.create_run(
            place.experiment_id, tags=place.tags, run_name=place.name
        ).info.run_id
        family.finish_orphans(client, parent, "FAILED", "its process died")
        assert states(client, parent) == {"first": "FINISHED", "second": "FAILED"}
        assert client.get_run(orphan).data.tags["trackml.failure"] == "its process died"
        family.discard_unfinished(client, parent)
        assert states(client, parent) == {"first": "FINISHED"}
        assert client.get_run(orphan).info.lifecycle_stage == "deleted"


def test_resume_goes_on_in_the_newest_unfinished_run_of_the_same_parameters(
    client: MlflowClient, blobs: ImageData
) -> None:
    ids = {"old": failed(blobs), "new": failed(blobs), "other": failed(blobs, epochs=7)}
    with suite(blobs) as run:
        ids["finished"] = run.run_id
    with suite(blobs, resume=True) as run:
        assert run.run_id == ids["new"]
        assert client.get_run(run.run_id).info.status == "RUNNING"
    done = client.get_run(ids["new"])
    assert done.info.status == "FINISHED"
    assert "trackml.failure" not in done.data.tags
    assert done.inputs
    assert len(done.inputs.dataset_inputs) == 1
    with suite(blobs, resume=True, epochs=9) as run:
        assert run.run_id not in ids.values()


def test_under_mlflow_run_the_new_run_takes_the_children_over(
    client: MlflowClient, blobs: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = client.get_run(failed(blobs, "first"))
    given = client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    with suite(blobs, resume=True) as run:
        assert run.run_id == given
        table = run.trials()
    assert list(table["name"]) == ["first"]
    old = client.get_run(old.info.run_id)
    assert (old.info.status, old.data.tags["trackml.successor"]) == ("KILLED", given)


def test_a_run_that_is_held_is_not_resumed(client: MlflowClient, blobs: ImageData) -> None:
    held = failed(blobs)
    with (
        claimed(client.get_run(held).data.tags["trackml.journal"]),
        pytest.raises(AlreadyActive, match=f"at work on run {held}"),
        suite(blobs, resume=True),
    ):
        pass
    assert client.get_run(held).info.status == "FAILED"


def test_a_finished_suite_with_failures_is_resumed_and_one_without_is_not(
    client: MlflowClient, blobs: ImageData
) -> None:
    with suite(blobs) as run:
        client.set_tag(run.run_id, family.FAILURE_TAG, "1 of 2 trials failed")
    with suite(blobs, resume=True) as again:
        assert again.run_id == run.run_id
    with suite(blobs, resume=True) as other:
        assert other.run_id != run.run_id


def test_a_run_that_was_killed_before_its_parameters_were_logged_is_not_taken_for_another(
    client: MlflowClient, blobs: ImageData
) -> None:
    tags = {
        "trackml.task": "blobs",
        "trackml.architecture": "suite",
        "trackml.data_sha256": blobs.sha256,
    }
    bare = client.create_run("0", tags=tags).info.run_id
    with suite(blobs, resume=True) as run:
        assert run.run_id != bare


def test_a_child_that_failed_before_it_had_a_run_gets_one(
    client: MlflowClient, blobs: ImageData
) -> None:
    with suite(blobs) as run:
        parent = client.get_run(run.run_id)
        family.note_failure(client, family.place_below(parent, "first"), "no data")
        (noted,) = family.children(client, parent)
    assert (noted.info.run_name, noted.info.status) == ("first", "FAILED")
    assert noted.data.tags["trackml.failure"] == "no data"


def test_a_trial_is_not_taken_for_a_run_that_goes_on(
    client: MlflowClient, blobs: ImageData
) -> None:
    """Both have the same parameters, data, architecture and code."""
    with suite(blobs) as run:
        place = family.place_below(client.get_run(run.run_id), "first")
        with suppress(ValueError), family.placed(place), suite(blobs) as trial:
            raise ValueError("broken")
    with suite(blobs, resume=True) as again:
        assert again.run_id not in (run.run_id, trial.run_id)


def test_a_run_of_another_machine_that_may_be_alive_is_not_taken_over(
    client: MlflowClient, blobs: ImageData
) -> None:
    other = failed(blobs)
    client.update_run(other, status="RUNNING")
    client.set_tag(other, "trackml.process", "another-machine:1")
    with (
        pytest.raises(AlreadyActive, match="by process another-machine:1"),
        suite(blobs, resume=True),
    ):
        pass
    assert client.get_run(other).info.status == "RUNNING"
    assert "broken" in client.get_run(other).data.tags["trackml.failure"]


def test_a_run_that_trained_elsewhere_is_left_as_it_was(
    client: MlflowClient, blobs: ImageData
) -> None:
    other = failed(blobs)
    client.log_metric(other, "train_loss", 0.5, step=1)
    with (
        pytest.raises(TrackmlError, match="there is no checkpoint of it in"),
        suite(blobs, resume=True),
    ):
        pass
    left = client.get_run(other)
    assert (left.info.status, left.data.tags["trackml.failure"]) == ("FAILED", "broken")
