"""Runs whose process died, and runs that continue: as themselves, or as one of `mlflow run`."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import start
from tests.tracking.toy import Store, finish, train
from trackml.errors import AlreadyActive, TrackmlError
from trackml.tracking.lease import HEARTBEAT_TAG, PROCESS_TAG, run_lock
from trackml.tracking.outbox import (
    FAILURE_TAG,
    outbox_folders,
    runs_folder,
)
from trackml.tracking.queries import SUCCESSOR_TAG, child_runs, unfinished_runs
from trackml.tracking.resume import mark_dead_runs

ELSEWHERE = "another-machine:1"


def dead(store: Store) -> str:
    """A run whose process was killed somewhere, a while ago."""
    tags = {PROCESS_TAG: ELSEWHERE, HEARTBEAT_TAG: "1"}
    tags |= {"trackml.task": "blobs", "trackml.architecture": "cnn"}
    return str(store.client.create_run("0", tags=tags).info.run_id)


def test_a_run_without_a_process_is_marked_killed(store: Store) -> None:
    first = dead(store)
    (marked,) = mark_dead_runs(store.client)
    assert (marked.info.run_id, marked.info.status) == (first, "KILLED")
    assert marked.data.tags[FAILURE_TAG] == "its process was killed"
    assert mark_dead_runs(store.client) == []
    other = dead(store)
    with store.tracked() as run:  # the next start marks it, too
        assert (store.status(other), store.status(run.run_id)) == ("KILLED", "RUNNING")


def test_a_run_that_is_held_or_of_another_program_is_left_alone(store: Store) -> None:
    held, unknown = dead(store), store.client.create_run("0").info.run_id
    (runs_folder() / held).mkdir(parents=True)
    with run_lock(runs_folder() / held):
        assert mark_dead_runs(store.client) == []
    for run_id in (held, unknown):
        assert store.status(run_id) == "RUNNING"


def test_a_person_is_told(store: Store, empty_folder: Path) -> None:
    assert start("trackml", "runs", folder=empty_folder).stdout == "all runs have finished\n"
    killed = dead(store)
    said = start("trackml", "runs", folder=empty_folder)
    assert said.returncode == 0, said.stderr
    for words in (killed, "KILLED", "its process was killed", "1 were RUNNING", "--resume true"):
        assert words in said.stdout
    assert store.status() == "KILLED"


def test_resume_continues_the_newest_unfinished_run_of_the_same_parameters(store: Store) -> None:
    ids = {"old": store.failed(), "new": store.failed(), "other": store.failed(after=1, epochs=7)}
    with store.tracked() as run:
        ids["finished"] = run.run_id
    with store.tracked(resume=True) as run:
        assert run.run_id == ids["new"]
        assert store.status(run.run_id) == "RUNNING"
    done = store.run(ids["new"])
    assert done.info.status == "FINISHED"
    assert FAILURE_TAG not in done.data.tags
    assert done.inputs
    assert len(done.inputs.dataset_inputs) == 1
    with store.tracked(resume=True, epochs=9) as run:
        assert run.run_id not in ids.values()


def test_a_run_continues_after_the_last_epoch_that_was_kept(store: Store) -> None:
    first = store.failed(after=2)
    with store.tracked(resume=True) as run:
        point = run.resume_point()
        assert point
        assert [row["val_loss"] for row in point.rows] == [1.0, 0.5]
        run.log_epoch(3, {"val_loss": 0.25})
    assert run.run_id == first
    assert store.rows(first) == [(1, 1.0), (2, 0.5), (3, 0.25)]


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept here", "in the store"])
def test_a_run_that_is_held_is_not_resumed(store: Store, is_kept: bool) -> None:
    held = store.failed(after=int(is_kept))
    assert len(outbox_folders()) == is_kept
    with (
        run_lock(runs_folder() / store.tags(held)["trackml.journal"]),
        pytest.raises(AlreadyActive, match=f"at work on run {held}"),
        store.tracked(resume=True),
    ):
        pass
    assert store.status(held) == "FAILED"


def test_a_finished_run_with_failed_trials_is_resumed_and_one_without_is_not(
    store: Store,
) -> None:
    with store.tracked() as run:
        run.log_tags({FAILURE_TAG: "1 of 2 trials failed"})
    store.client.set_tag(run.run_id, "trackml.journal", "../../elsewhere")
    with store.tracked(resume=True) as again:
        assert again.run_id == run.run_id
        assert again.outbox.folder == runs_folder() / "elsewhere"
    with store.tracked(resume=True) as other:
        assert other.run_id != run.run_id


def test_another_run_that_looks_the_same_is_not_continued(store: Store) -> None:
    """A trial; one that was killed before its parameters were logged; one that was deleted."""
    with store.tracked() as run:
        trial = store.failed(parent=run.as_parent().of_trial("first"))
        assert store.status(trial) == "FAILED"
    bare = store.client.create_run("0", tags=store.tags(run.run_id)).info.run_id
    deleted = store.failed(after=1)
    store.client.delete_run(deleted)
    with store.tracked(resume=True) as again:
        assert again.run_id not in (run.run_id, trial, bare, deleted)
        assert again.resume_point() is None


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (
            lambda client, run_id: (
                client.update_run(run_id, status="RUNNING"),
                client.set_tag(run_id, PROCESS_TAG, ELSEWHERE),
            ),
            AlreadyActive,
            ELSEWHERE,
        ),
        (
            lambda client, run_id: client.log_metric(run_id, "train_loss", 0.5, step=1),
            TrackmlError,
            "there is no checkpoint of it in",
        ),
    ],
    ids=["may be alive", "has trained there"],
)
def test_a_run_of_another_machine_that_cannot_continue_here_is_left_as_it_was(
    store: Store, change: Any, error: type[Exception], words: str
) -> None:
    other = store.failed()
    change(store.client, other)
    before = store.run(other).to_dictionary()
    with pytest.raises(error, match=words), store.tracked(resume=True):
        pass
    assert store.run().to_dictionary() == before
    assert before["data"]["tags"][FAILURE_TAG] == "broken"


def test_a_run_that_may_be_alive_keeps_its_half_written_files(store: Store) -> None:
    """On another machine, with the same folder of runs and locks of its own."""
    other = store.failed(after=1)
    (folder,) = outbox_folders()
    draft = folder / ".checkpoint.npz.5f2c"
    draft.touch()
    folder.with_name(f"{folder.name}.holder").write_text(f"{ELSEWHERE}\nelsewhere\n")
    store.client.update_run(other, status="RUNNING")
    with pytest.raises(AlreadyActive, match=ELSEWHERE), store.tracked(resume=True):
        pass
    assert draft.exists()


@pytest.mark.parametrize("by_mlflow", [True, False])
def test_the_run_that_continues_has_the_children(store: Store, by_mlflow: bool) -> None:
    """Its metrics are those of all its children: the old ones do not stay."""
    with suppress(ValueError), store.tracked() as run:
        for name in ("first", "second"):
            with store.tracked("dense", parent=run.as_parent().of_trial(name)) as trial:
                pass
        store.client.update_run(trial.run_id, status="FAILED")
        run.log_metrics({"trials": 2})
        raise ValueError("broken")
    new = store.made_by_mlflow() if by_mlflow else run.run_id
    with store.tracked(resume=True) as again:
        assert again.run_id == new
        assert list(again.child_table()["name"]) == ["first"]  # the other one is run again
        again.log_metrics({"trials": 3})
    assert store.run(trial.run_id).info.lifecycle_stage == "deleted"
    assert store.run(new).data.metrics["trials"] == 3
    if by_mlflow:
        assert (store.status(run.run_id), store.tags(run.run_id)[SUCCESSOR_TAG]) == ("KILLED", new)
        assert child_runs(store.client, run.run_id) == []


def killed_before_it_reaches_the_store(store: Store) -> None:
    """Resume a run in a process that lives no longer than until it is addressed to a new one."""
    with store.monkeypatch.context() as broken:
        broken.setattr("trackml.tracking.run.uploading", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError), store.tracked(resume=True):
            pass


@pytest.mark.parametrize("reaches_store", [True, False])
def test_resumed_twice_under_mlflow_run_the_last_run_has_all_and_replaces_the_others(
    store: Store, reaches_store: bool
) -> None:
    first, second = store.failed(after=1), store.made_by_mlflow()
    if reaches_store:
        assert store.failed(after=2, resume=True) == second
    else:
        killed_before_it_reaches_the_store(store)
    third = store.made_by_mlflow()
    with store.tracked(resume=True) as run:
        train(run, 3)
        finish(run)
    assert run.run_id == third
    for run_id in (first, second):
        assert (store.status(run_id), store.tags(run_id)[SUCCESSOR_TAG]) == ("KILLED", third)
    assert (store.status(third), store.tags(third)["trackml.predecessor"]) == ("FINISHED", second)
    assert store.rows(third) == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert store.client.get_model_version_by_alias("blobs", "champion").run_id == third
    assert (outbox_folders(), unfinished_runs(store.client)) == ([], [])
    store.monkeypatch.delenv("MLFLOW_RUN_ID")
    with store.tracked(resume=True) as run:  # none of them is continued once more
        assert run.run_id not in (first, second, third)


def test_a_run_whose_successor_was_deleted_before_it_began_continues(
    store: Store,
) -> None:
    first, second = store.failed(after=1), store.made_by_mlflow()
    killed_before_it_reaches_the_store(store)
    store.client.delete_run(second)
    store.monkeypatch.delenv("MLFLOW_RUN_ID")
    with store.tracked(resume=True) as run:
        train(run, 2)
    assert (run.run_id, store.status(first)) == (first, "FINISHED")
    assert not {SUCCESSOR_TAG, "trackml.predecessor"} & store.tags(first).keys()
    assert store.rows(first) == [(1, 1.0), (2, 0.5)]
