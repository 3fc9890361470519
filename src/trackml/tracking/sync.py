"""What runs still owe to their stores, delivered after the fact."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.tracking import MlflowClient

from trackml.errors import AlreadyActive, TrackmlError, one_line
from trackml.tracking import reach, store
from trackml.tracking.claims import claimed
from trackml.tracking.delivery import Delivery
from trackml.tracking.family import FAILURE_TAG
from trackml.tracking.journal import Facts, Journal, all_journals, now_ms
from trackml.tracking.registry import Registration
from trackml.tracking.repair import PROCESS_TAG, may_be_at_work
from trackml.tracking.search import find_run


@dataclass(frozen=True)
class Synced:
    """What became of a run that was owed.

    Attributes:
        problem: why the store still does not have all of it; "" if it has.
    """

    run_id: str
    folder: Path
    status: str
    registration: Registration | None
    problem: str


def sync() -> Iterator[Synced]:
    """Deliver all that is owed, the oldest run first, each to its own store.

    A run whose process was killed is delivered as KILLED, and can still be resumed. To one that a
    process is at work on nothing is done. To sync once more changes nothing.
    """
    chosen = mlflow.get_tracking_uri() if store.is_chosen() else ""
    for folder in reversed(all_journals()):
        try:
            with claimed(folder.name):
                synced = _sync(folder, chosen) if folder.exists() else None
        except AlreadyActive as error:
            synced = Synced(folder.name, folder, "RUNNING", None, str(error))
        if synced:
            yield synced


def _sync(folder: Path, chosen: str) -> Synced | None:
    """Deliver one run; None if nothing of it is owed.

    Args:
        chosen: the store's address with its password, if the user has named one.
    """
    run_id, status, problem, registration = folder.name, "unknown", "", None
    try:
        facts = Facts.read(folder)
        if facts.is_delivered:
            return None
        run_id, status = facts.run_id or run_id, facts.status
        process = facts.tags.get(PROCESS_TAG, "")
        if status == "RUNNING" and may_be_at_work(process):
            problem = f"process {process} may be at work on it; sync there"
            return Synced(run_id, folder, status, None, problem)
        journal = Journal.open(folder)
        facts = journal.facts
        delivery = Delivery(_client_of(facts, chosen), journal, is_new=False)
        if facts.status == "RUNNING":
            died = max((at for _, at in journal.epochs.values()), default=now_ms())
            delivery.end("KILLED", {FAILURE_TAG: "its process was killed"}, at=died)
        delivery.push(seconds=None)
        delivery.put_away()
        run_id, status = facts.run_id or run_id, facts.status
        problem, registration = delivery.away, delivery.registration
    except Exception as error:  # noqa: BLE001  # of whatever kind: the other runs go on
        problem = one_line(error)
    return Synced(run_id, folder, status, registration, problem)


def _client_of(facts: Facts, chosen: str) -> MlflowClient:
    mlflow.set_tracking_uri(chosen or facts.store)
    client = store.connect()
    is_there = find_run(client, facts.run_id)
    if reach.shown_address() != facts.store and not is_there:
        raise TrackmlError(f"it is owed to {facts.store}: name that in MLFLOW_TRACKING_URI")
    if facts.run_id and not is_there:
        raise TrackmlError(
            f"it was deleted there: restore it with `mlflow runs restore --run-id {facts.run_id}`, "
            "or remove this folder"
        )
    return client
