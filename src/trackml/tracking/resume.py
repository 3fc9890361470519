"""Runs that go on: which one, whether it can, and how another run takes its place."""

import logging
from contextlib import ExitStack
from dataclasses import dataclass

from mlflow.entities import Run as MlflowRun
from mlflow.tracking import MlflowClient

from trackml.errors import AlreadyActive, TrackmlError
from trackml.params import RunParams
from trackml.tracking import family
from trackml.tracking.claims import claimed
from trackml.tracking.family import FAILURE_TAG, SUCCESSOR_TAG
from trackml.tracking.journal import (
    JOURNAL_TAG,
    Facts,
    Journal,
    Score,
    all_journals,
    new_folder,
)
from trackml.tracking.past import CODE_TAG, are_same, is_unfinished, unfinished_run
from trackml.tracking.repair import PROCESS_TAG, may_be_at_work
from trackml.tracking.search import find_run

PREDECESSOR_TAG = "trackml.predecessor"
_IDENTITY = ("trackml.task", "trackml.architecture", "trackml.data_sha256", CODE_TAG)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unfinished:
    """A run that is to go on: what is kept of it here, and what the store knows, if it does."""

    journal: Journal
    run: MlflowRun | None


def find_unfinished(
    client: MlflowClient, params: RunParams, facts: Facts, claims: ExitStack, *, is_reachable: bool
) -> Unfinished | None:
    """The newest unfinished run of these parameters, data and code, claimed; None if there is none.

    Nothing is changed: whether it can go on is known when this returns.

    Args:
        facts: of the run that would begin otherwise.

    Raises:
        AlreadyActive: a process is at work on it.
        TrackmlError: it has trained, and its checkpoint is not here, or cannot be read.
    """
    found = _kept_here(client, params, facts, claims, is_reachable=is_reachable)
    if not found and is_reachable:
        found = _known_to_store(client, params, facts, claims)
    if not found:
        _log.info("resume: no run of these parameters and code is unfinished; a new one begins")
        return None
    process = found.journal.facts.tags.get(PROCESS_TAG, "")
    is_running = (found.run.info.status if found.run else found.journal.facts.status) == "RUNNING"
    if is_running and may_be_at_work(process):
        raise AlreadyActive(
            f"run {_name(found)} is RUNNING, by process {process}; wait for its end, or where that "
            "is no more, run `python -m trackml runs` on its machine"
        )
    _log.info("resume: run %s goes on", _name(found))
    return found


def _name(found: Unfinished) -> str:
    return found.journal.facts.run_id or found.journal.id


def _kept_here(
    client: MlflowClient, params: RunParams, facts: Facts, claims: ExitStack, *, is_reachable: bool
) -> Unfinished | None:
    """The newest journal on this machine: of what did not end, or is owed to the store."""
    for folder in all_journals():
        # The facts alone: a checkpoint is large, and may be another's.
        known = Facts.read(folder)
        identity = [known.tags.get(tag) == facts.tags[tag] for tag in _IDENTITY]
        if known.store != facts.store or not all(identity) or not are_same(params, known.params):
            continue
        claims.enter_context(claimed(folder.name, known.run_id))
        if not folder.exists():
            continue  # it was finished until now
        journal = Journal.open(folder)
        run = None
        if is_reachable and known.run_id:
            run = find_run(client, known.run_id)
            if not run or SUCCESSOR_TAG in run.data.tags:
                continue  # somebody has removed it, or another run goes on in its place
        if run and "train_loss" in run.data.metrics and not journal.epochs:
            raise _without_checkpoint(known.run_id, folder)
        return Unfinished(journal, run)
    return None


def _known_to_store(
    client: MlflowClient, params: RunParams, facts: Facts, claims: ExitStack
) -> Unfinished | None:
    """The newest run in the store that did not end, wherever it began."""
    old = unfinished_run(
        client,
        params,
        task=facts.tags["trackml.task"],
        architecture=facts.tags["trackml.architecture"],
        data_sha256=facts.tags["trackml.data_sha256"],
        code_sha256=facts.tags[CODE_TAG],
    )
    if not old:
        return None
    run_id, tags = old.info.run_id, old.data.tags
    folder = new_folder(tags.get(JOURNAL_TAG, run_id))
    claims.enter_context(claimed(folder.name, run_id))
    old = client.get_run(run_id)  # it may have been finished until now
    if not is_unfinished(old):
        return None
    if "train_loss" in old.data.metrics:
        raise _without_checkpoint(run_id, folder)
    known = Facts(
        store=facts.store,
        experiment="",
        experiment_id=old.info.experiment_id,
        name=old.info.run_name,
        started=old.info.start_time,
        run_id=run_id,
        params=dict(old.data.params),
        tags=dict(tags),
        # They are there: only that they are not logged once more is of interest.
        metrics={name: Score(value, 0) for name, value in old.data.metrics.items()},
    )
    return Unfinished(Journal(folder, known), old)


def _without_checkpoint(run_id: str, folder: object) -> TrackmlError:
    return TrackmlError(
        f"--resume: run {run_id} has trained, but there is no checkpoint of it in {folder}; resume "
        "it where it ran (TRACKML_RUNS_DIR), or leave --resume out"
    )


def go_on(client: MlflowClient, found: Unfinished, facts: Facts) -> Journal:
    """The journal of a run that goes on as it was, or, if `mlflow run` has made one, as that.

    Args:
        facts: of this process's run.

    Raises:
        TrackmlError: the disk says no.
    """
    old = found.journal
    if found.run:
        family.discard_unfinished(client, found.run)
        if family.children(client, found.run):
            old.facts.metrics = {}  # what is said of many trials changes
    if not facts.run_id or facts.run_id == old.facts.run_id:
        old.facts.tags.pop(FAILURE_TAG, None)
        old.facts.tags |= facts.tags
        old.facts.status, old.facts.ended, old.facts.is_delivered = "RUNNING", 0, False
        return old
    new = Journal(new_folder(facts.run_id), facts)
    facts.metrics = old.facts.metrics
    facts.tags[PREDECESSOR_TAG] = old.facts.run_id or old.id
    new.take_checkpoint(old.folder)
    return new


def replace_predecessor(client: MlflowClient, journal: Journal) -> None:
    """Let a run, if it carries on in the place of another, have all that is left of that.

    Done again, it completes what a kill has left half-done.
    """
    before = journal.facts.tags.get(PREDECESSOR_TAG)
    if not before:
        return
    if run := find_run(client, before):
        family.adopt(client, run, journal.facts.run_id)
        before = run.data.tags.get(JOURNAL_TAG, before)
    Journal(new_folder(before), journal.facts).remove()
