"""Runs that go on: which one, whether it can, and how another run takes its place."""

import logging
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

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
    remove,
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
        try:
            known = Facts.read(folder)  # alone: a checkpoint is large, and may be another's
        except TrackmlError:
            if not folder.exists():
                continue  # it was finished until now
            raise
        identity = [known.tags.get(tag) == facts.tags[tag] for tag in _IDENTITY]
        if known.store != facts.store or not all(identity) or not are_same(params, known.params):
            continue
        with ExitStack() as claim:
            claim.enter_context(claimed(folder.name, known.run_id))
            if not folder.exists():
                continue  # it was finished until now
            run = find_run(client, known.run_id) if is_reachable else None
            if is_reachable and known.run_id and (not run or SUCCESSOR_TAG in run.data.tags):
                continue  # somebody has removed it, or another run goes on in its place
            journal = Journal.open(folder)
            if run and "train_loss" in run.data.metrics and not journal.epochs:
                raise _without_checkpoint(known.run_id, folder)
            claims.push(claim.pop_all())
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
    if folder.exists():  # though begun against another address of the store
        return Unfinished(Journal.open(folder), old)
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
    """The journal of a run that goes on as the run that it was.

    Args:
        facts: of this process's run.
    """
    _discard_trials(client, found)
    old = found.journal
    old.facts.tags.pop(FAILURE_TAG, None)
    old.facts.tags |= facts.tags
    old.facts.status, old.facts.ended, old.facts.is_delivered = "RUNNING", 0, False
    return old


def take_over(client: MlflowClient, found: Unfinished, facts: Facts, folder: Path) -> Journal:
    """The journal of the run that `mlflow run` has made, which carries on in another's place.

    Raises:
        TrackmlError: the disk says no.
    """
    _discard_trials(client, found)
    old, new = found.journal, Journal(folder, facts)
    # What only the store has of the old one is said anew.
    facts.metrics = {name: score for name, score in old.facts.metrics.items() if score.at}
    facts.tags[PREDECESSOR_TAG] = old.facts.run_id or old.id
    new.take_checkpoint(old.folder)
    return new


def _discard_trials(client: MlflowClient, found: Unfinished) -> None:
    if found.run:
        family.discard_unfinished(client, found.run)
        if family.children(client, found.run):
            found.journal.facts.metrics = {}  # what is said of many trials changes


def replace_predecessor(client: MlflowClient, facts: Facts) -> None:
    """Let a run, if it carries on in the place of another, have all that is left of that.

    Done again, it completes what a kill has left half-done.
    """
    before = facts.tags.get(PREDECESSOR_TAG)
    if not before:
        return
    if run := find_run(client, before):
        family.adopt(client, run, facts.run_id)
        before = run.data.tags.get(JOURNAL_TAG, before)
    remove(new_folder(Path(before).name))  # a name only, whatever the tag says
