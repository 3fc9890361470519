"""Who holds a run: a lock, signs of life, and a person who knows better."""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.tracking.toy import Store
from trackml.errors import AlreadyActive, TrackmlError
from trackml.process.system import this_process
from trackml.tracking import lease
from trackml.tracking.lease import (
    HEARTBEAT_TAG,
    LEASE_SECONDS,
    PROCESS_TAG,
    _place,
    check_lease,
    last_holder,
    release,
    run_lock,
)
from trackml.tracking.outbox import FAILURE_TAG, now_ms, outbox_folders, runs_folder
from trackml.tracking.resume import mark_dead_runs, release_run
from trackml.tracking.uploader import sync

pytestmark = pytest.mark.usefixtures("empty_folder")
LONG_AGO = 2 * LEASE_SECONDS


HERE = "here"


def left_by(place: str) -> Path:
    """A folder that a process held until it was killed now."""
    folder = runs_folder() / "a"
    folder.mkdir(parents=True)
    (runs_folder() / "a.holder").write_text(
        f"box:1\n{_place(folder) if place == HERE else place}\n"
    )
    return folder


def test_a_run_is_held_by_one_process_which_is_named() -> None:
    folder = runs_folder() / "a"
    who = rf"process \({this_process()}, alive \d s ago\)"
    words = f"{who} is at work on run 1234; wait for its end, or stop it$"
    with run_lock(folder), pytest.raises(AlreadyActive, match=words), run_lock(folder, "1234"):
        pass
    assert list(runs_folder().iterdir()) == []
    with run_lock(folder):
        assert last_holder(folder)


def test_a_lock_that_is_free_on_this_machine_says_that_its_process_is_dead() -> None:
    """However recent its last sign of life: a container that is started again need not wait."""
    with run_lock(left_by(HERE)) as is_certain:
        assert is_certain


def test_of_another_machine_whose_locks_may_not_be_seen_here_the_heartbeat_decides() -> None:
    folder = left_by("elsewhere")
    with pytest.raises(AlreadyActive, match=r"\(box:1, alive"), run_lock(folder):
        pass
    assert last_holder(folder)  # the attempt left the sign as it was
    then = time.time() - LONG_AGO
    os.utime(runs_folder() / "a.holder", (then, then))
    with run_lock(folder) as is_certain:
        assert not is_certain


def test_without_locks_the_heartbeat_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems have none, and say so when asked."""

    class Refused:
        def acquire(self, **_: object) -> None:
            raise OSError(38, "Function not implemented")

        def release(self) -> None:
            pass

    monkeypatch.setattr(lease, "lock_file", lambda _path: Refused())
    folder = runs_folder() / "a"
    with run_lock(folder), pytest.raises(AlreadyActive), run_lock(folder):
        pass
    with run_lock(folder):
        pass


@pytest.mark.parametrize(
    ("tags", "is_held"),
    [
        ({HEARTBEAT_TAG: lambda: str(now_ms())}, True),
        ({HEARTBEAT_TAG: lambda: str(now_ms() - int(1000 * LONG_AGO))}, False),
        ({}, True),  # an older version made it: nothing is known
    ],
    ids=["alive", "dead", "unknown"],
)
def test_a_run_whose_folder_is_not_here_is_held_while_it_has_a_heartbeat(
    tags: dict[str, Callable[[], str]], is_held: bool, store: Store
) -> None:
    values = {name: value() for name, value in tags.items()} | {PROCESS_TAG: "box:1"}
    run_id = store.client.create_run("0", tags=values).info.run_id
    with ExitStack() as stack:
        if is_held:
            stack.enter_context(pytest.raises(AlreadyActive, match="box:1"))
        check_lease(store.run(run_id))
    assert len(mark_dead_runs(store.client)) == (not is_held)
    assert store.status(run_id) == ("RUNNING" if is_held else "KILLED")


def test_a_trial_is_held_with_its_sweep(store: Store) -> None:
    with store.tracked() as run, store.tracked(parent=run.as_parent().of_trial("a")) as trial:
        store.client.set_tag(trial.run_id, HEARTBEAT_TAG, "1")
        assert mark_dead_runs(store.client) == []
        dead = store.client.create_run("0", tags={PROCESS_TAG: "box:1", HEARTBEAT_TAG: "1"})
        below = {"mlflow.parentRunId": dead.info.run_id, PROCESS_TAG: "box:2"}
        child = store.client.create_run("0", tags=below).info.run_id
        assert [each.info.run_id for each in mark_dead_runs(store.client)] == [dead.info.run_id]
    assert (store.status(child), store.tags(child)[FAILURE_TAG]) == (
        "KILLED",
        "its process was killed",
    )


def test_the_heartbeat_undoes_what_others_took_for_its_death(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.05)
    with store.tracked() as run:
        store.client.set_tag(run.run_id, HEARTBEAT_TAG, "1")
        store.client.set_tag(run.run_id, FAILURE_TAG, "its process was killed")
        store.client.set_terminated(run.run_id, "KILLED")
        (runs_folder() / f"{run.outbox.name}.holder").unlink()  # as by one who had the lock
        while (
            store.status(run.run_id) == "KILLED"
            or FAILURE_TAG in store.tags(run.run_id)
            or store.tags(run.run_id)[HEARTBEAT_TAG] == "1"
            or not last_holder(run.outbox.folder)
        ):
            time.sleep(0.05)
    assert store.status(run.run_id) == "FINISHED"


def test_taken_for_dead_just_before_its_end_it_is_finished(store: Store) -> None:
    with store.tracked() as run:
        store.client.set_tag(run.run_id, FAILURE_TAG, "its process was killed")
        store.client.set_terminated(run.run_id, "KILLED")
    assert store.status(run.run_id) == "FINISHED"
    assert FAILURE_TAG not in store.tags(run.run_id)


def test_a_person_takes_a_run_from_a_process_that_is_dead_but_not_from_one_that_lives(
    store: Store,
) -> None:
    run_id = store.failed(after=1)
    folder = runs_folder() / store.tags(run_id)["trackml.journal"]
    (runs_folder() / f"{folder.name}.holder").write_text("box:1\nelsewhere\n")
    with pytest.raises(AlreadyActive), store.tracked(resume=True):
        pass
    assert release_run(store.client, run_id).info.status == "FAILED"  # as it was
    with store.tracked(resume=True) as run:
        assert run.run_id == run_id
        with pytest.raises(AlreadyActive):
            release_run(store.client, run_id)
        with pytest.raises(AlreadyActive):
            release(run.outbox.folder, run_id)
    assert store.status(run_id) == "FINISHED"


def test_only_what_is_held_can_be_released(store: Store) -> None:
    """A mistyped id must not take a champion's run its status."""
    with store.tracked() as run:
        pass
    other = store.client.create_run("0").info.run_id
    for run_id, words in ((run.run_id, "it is FINISHED"), (other, "no such run"), ("1", "no such")):
        with pytest.raises(TrackmlError, match=words):
            release_run(store.client, run_id)
    assert (store.status(run.run_id), store.status(other)) == ("FINISHED", "RUNNING")


def test_a_copy_of_a_live_runs_folder_gives_no_lock_on_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.tracked() as run:
        shutil.copytree(runs_folder(), "copy")
        then = time.time() - LONG_AGO  # nobody touches the copy
        os.utime(f"copy/{run.outbox.name}.holder", (then, then))
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv("TRACKML_RUNS_DIR", "copy")
            assert mark_dead_runs(store.client) == []
            assert ["at work on" in each.problem for each in sync()] == [True]
            with pytest.raises(AlreadyActive), store.tracked(resume=True):
                pass
        assert store.status(run.run_id) == "RUNNING"


def test_a_folder_of_another_user_is_in_nobodys_way(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may enter all folders, so the system is asked in its place."""
    store.failed(after=1)
    assert len(outbox_folders()) == 1
    dead = store.client.create_run("0", tags={PROCESS_TAG: "box:1", HEARTBEAT_TAG: "1"})
    folder, asked, theirs = runs_folder() / dead.info.run_id, os.access, str(runs_folder())
    folder.mkdir()
    may = lambda path, mode: theirs not in str(path) and asked(path, mode)  # noqa: E731
    monkeypatch.setattr("os.access", may)
    monkeypatch.setattr(lease, "lock_file", lambda _path: pytest.fail("asked for a lock"))
    assert outbox_folders() == []
    assert [run.info.run_id for run in mark_dead_runs(store.client)] == [dead.info.run_id]
