"""What runs still owe to their stores, delivered after the fact."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
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

    A run whose process was killed is delivered as KILLED, and can still be resumed. One that a
    process is at work on is passed over. To sync once more changes nothing.
    """
    chosen = mlflow.get_tracking_uri() if store.is_chosen() else ""
    for folder in reversed(list(all_journals())):
        with ExitStack() as claims:
            try:
                claims.enter_context(claimed(folder.name))
                facts = Facts.read(folder)
            except AlreadyActive:
                continue
            except TrackmlError as error:
                yield Synced(folder.name, folder, "unknown", None, str(error))
                continue
            is_running = facts.status == "RUNNING"
            if facts.is_delivered or (is_running and may_be_at_work(facts.tags[PROCESS_TAG])):
                continue
            yield _sync(folder, chosen)


def _sync(folder: Path, chosen: str) -> Synced:
    """Deliver one run.

    Args:
        chosen: the store's address with its password, if the user has named one.
    """
    journal = Journal.open(folder)
    facts = journal.facts
    problem, registration = "", None
    try:
        delivery = Delivery(_client_of(facts, chosen), journal, is_new=False)
        if facts.status == "RUNNING":
            died = max((at for _, at in journal.epochs.values()), default=now_ms())
            delivery.end("KILLED", {FAILURE_TAG: "its process was killed"}, at=died)
        delivery.push(patiently=True)
        delivery.tidy()
        problem, registration = delivery.away, delivery.registration
    except (TrackmlError, MlflowException) as error:
        problem = one_line(error)
    return Synced(facts.run_id or journal.id, folder, facts.status, registration, problem)


def _client_of(facts: Facts, chosen: str) -> MlflowClient:
    mlflow.set_tracking_uri(chosen or facts.store)
    client = store.connect()
    if reach.shown_address() != facts.store and not find_run(client, facts.run_id):
        raise TrackmlError(f"it is owed to {facts.store}: name that in MLFLOW_TRACKING_URI")
    return client
