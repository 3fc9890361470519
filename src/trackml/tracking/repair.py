"""Runs that nobody works on any more, but that did not live to say so: SIGKILL, a power cut."""

import os
import socket
from contextlib import suppress

from mlflow.entities import Run as MlflowRun
from mlflow.tracking import MlflowClient

from trackml.errors import AlreadyActive, TrackmlError
from trackml.tracking import reach
from trackml.tracking.claims import claimed
from trackml.tracking.family import FAILURE_TAG, SUCCESSOR_TAG
from trackml.tracking.journal import JOURNAL_TAG, Facts, all_journals, remove, remove_halves
from trackml.tracking.search import find_run, search_runs

PROCESS_TAG = "trackml.process"


def repair(client: MlflowClient) -> list[MlflowRun]:
    """Mark the runs of this machine KILLED that are RUNNING, but whose process is no more.

    A run is left alone while any process holds it, or has the number of the one that made it: of
    two jobs on one machine each may have a folder for temporary files, and so locks, of its own.
    """
    # All at once, as what is done to them would change the pages.
    condition = f"attributes.status = 'RUNNING' and tags.`{PROCESS_TAG}` LIKE '{_host()}:%'"
    repaired = []
    for run in list(search_runs(client, condition, newest_first=False)):
        if may_be_at_work(run.data.tags[PROCESS_TAG]):
            continue
        with suppress(AlreadyActive), claimed(run.data.tags.get(JOURNAL_TAG, run.info.run_id)):
            if client.get_run(run.info.run_id).info.status == "RUNNING":
                client.set_tag(run.info.run_id, FAILURE_TAG, "its process was killed")
                client.set_terminated(run.info.run_id, "KILLED")
                repaired.append(client.get_run(run.info.run_id))
    return repaired


def tidy(client: MlflowClient) -> None:
    """Remove what is kept of runs that will not go on: a kill may have come before that."""
    remove_halves()
    for folder in all_journals():
        with suppress(AlreadyActive, TrackmlError), claimed(folder.name):
            facts = Facts.read(folder)
            if facts.store != reach.shown_address() or not facts.run_id:
                continue
            run = find_run(client, facts.run_id)
            if not run:
                is_over = facts.is_delivered  # and somebody has deleted it
            else:
                is_finished = run.info.status == facts.status == "FINISHED"
                is_over = is_finished or SUCCESSOR_TAG in run.data.tags
            if is_over:
                remove(folder)


def unfinished(client: MlflowClient) -> list[MlflowRun]:
    """The runs of trackml that have not finished, or that go on, the newest first; no trials."""
    runs = search_runs(client, "attributes.status != 'FINISHED'", newest_first=True)
    return [
        run
        for run in runs
        if "trackml.task" in run.data.tags and "mlflow.parentRunId" not in run.data.tags
    ]


def this_process() -> str:
    """Who is at work, as a run's tag says it: host:number."""
    return f"{_host()}:{os.getpid()}"


def may_be_at_work(process: str) -> bool:
    """Whether a process that `this_process` has named lives, or is of a machine that we can't ask.

    Not if it is unknown.
    """
    host, _, number = process.rpartition(":")
    return bool(process) and (host != _host() or _is_alive(int(number)))


def _host() -> str:
    return socket.gethostname().replace("'", "")


def _is_alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # of another user
    return True
