"""Runs whose process was killed are put right; those at which one is at work are left alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from tests.conftest import start
from tests.tracking.test_run import only_run, tracked
from trackml.data import ImageData
from trackml.errors import AlreadyActive
from trackml.tracking import reach
from trackml.tracking.claims import claimed
from trackml.tracking.journal import Facts, Journal, new_folder, runs_folder
from trackml.tracking.repair import PROCESS_TAG, repair, this_process, tidy


@pytest.fixture
def gone() -> int:
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def running(client: MlflowClient, process: str) -> str:
    tags = {PROCESS_TAG: process, "trackml.task": "blobs", "trackml.architecture": "cnn"}
    return str(client.create_run("0", tags=tags).info.run_id)


def elsewhere(number: int) -> str:
    return this_process().replace(str(os.getpid()), str(number))


def test_a_run_without_a_process_is_marked_killed(client: MlflowClient, gone: int) -> None:
    orphan = running(client, elsewhere(gone))
    (repaired,) = repair(client)
    assert (repaired.info.run_id, repaired.info.status) == (orphan, "KILLED")
    assert repaired.data.tags["trackml.failure"] == "its process was killed"
    assert repair(client) == []


def test_what_lives_or_is_held_or_is_of_another_machine_is_left_alone(
    client: MlflowClient, gone: int
) -> None:
    alive = running(client, this_process())
    held = running(client, elsewhere(gone))
    other = running(client, f"another-machine:{gone}")
    unknown = client.create_run("0").info.run_id
    with claimed(held):
        assert repair(client) == []
    for run_id in (alive, held, other, unknown):
        assert client.get_run(run_id).info.status == "RUNNING"


def test_the_next_start_puts_it_right(client: MlflowClient, blobs: ImageData, gone: int) -> None:
    orphan = running(client, elsewhere(gone))
    with tracked(blobs) as run:
        assert client.get_run(orphan).info.status == "KILLED"
        assert client.get_run(run.run_id).info.status == "RUNNING"


def test_a_person_is_told(client: MlflowClient, gone: int, empty_folder: Path) -> None:
    assert start("trackml", "runs", folder=empty_folder).stdout == "all runs have finished\n"
    orphan = running(client, elsewhere(gone))
    said = start("trackml", "runs", folder=empty_folder)
    assert said.returncode == 0, said.stderr
    for words in (orphan, "KILLED", "its process was killed", "1 were RUNNING", "--resume true"):
        assert words in said.stdout
    assert only_run(client).info.status == "KILLED"


def test_what_was_kept_of_a_run_that_is_done_is_removed(client: MlflowClient, gone: int) -> None:
    done, open_ = (running(client, elsewhere(gone)) for _ in range(2))
    client.set_terminated(done, "FINISHED")
    here = reach.shown_address()
    for run_id, store in ((done, here), (open_, here), ("unknown", here), ("other", "http://a")):
        facts = Facts(store, "blobs", "", "cnn", 1, run_id, status="FINISHED")
        Journal(new_folder(run_id), facts).keep()
    for hidden in (".half.removed", ".git"):
        (runs_folder() / hidden).mkdir()
    tidy(client)
    left = {folder.name for folder in runs_folder().iterdir()}
    assert left == {open_, "unknown", "other", ".git"}


def test_who_holds_a_run_is_said(client: MlflowClient) -> None:
    with (
        claimed("1234"),
        pytest.raises(AlreadyActive, match=rf"process \({os.getpid()}\) is at work on run 1234"),
        claimed("1234"),
    ):
        pass
