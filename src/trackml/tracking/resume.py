"""Runs that continue after an interruption, and runs whose process died.

To resume a run is to read its outbox again; training then continues from the checkpoint in it.
`mlflow run` always makes a new run: the outbox is uploaded to that one, with the whole history.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_USER

from trackml.comparison.logged_params import are_same
from trackml.errors import TrackmlError
from trackml.tracking import queries
from trackml.tracking.lease import PROCESS_TAG, check_lease, release, run_lock
from trackml.tracking.outbox import (
    FAILURE_TAG,
    OUTBOX_TAG,
    PREDECESSOR_TAG,
    Outbox,
    RunMetric,
    RunState,
    outbox_folder,
    outbox_folders,
    runs_folder,
)
from trackml.tracking.queries import CODE_TAG, SUCCESSOR_TAG, find_run
from trackml.tracking.server import shown_address

_IDENTITY = ("trackml.task", "trackml.architecture", "trackml.data_sha256", CODE_TAG)

_log = logging.getLogger(__name__)


@contextmanager
def open_outbox(
    client: MlflowClient, state: RunState, *, resume: bool, is_reachable: bool
) -> Iterator[Outbox]:
    """The outbox of a new run, or of the newest unfinished run that is the same; locked.

    Runs are the same if parameters, data and code are equal. Nothing is changed before it is
    certain that the run can continue.

    Args:
        state: of the new run.
        resume: look for an unfinished run.
        is_reachable: whether the store responds.

    Raises:
        AlreadyActive: a process is at work on the unfinished run.
        TrackmlError: it has trained, and its checkpoint is not here, or cannot be read; or the disk
            refuses a change.
    """
    with ExitStack() as locks:
        search = _Search(client, state, locks, is_reachable)
        found = search.unfinished() if resume else None
        if is_reachable:
            mark_dead_runs(client)
        if found:
            _continue(client, *found, state)
            yield found[0]
        else:
            folder = runs_folder() / (state.run_id or uuid4().hex)
            locks.enter_context(run_lock(folder, state.run_id))
            yield Outbox.create(folder, state)


Unfinished = tuple[Outbox, MlflowRun | None]
"""An unfinished run: its outbox, and what the store has of it."""


@dataclass(frozen=True)
class _Search:
    """A search for the newest unfinished run that is the same as a new one would be."""

    client: MlflowClient
    state: RunState
    locks: ExitStack
    is_reachable: bool

    def unfinished(self) -> Unfinished | None:
        found = self._in_outboxes() or (self._in_store() if self.is_reachable else None)
        if not found:
            _log.info("resume: no run of these parameters and code is unfinished; a new one begins")
            return None
        outbox, run = found
        _log.info("resume: run %s goes on", run.info.run_id if run else outbox.run_id)
        return found

    def _in_outboxes(self) -> Unfinished | None:
        identity = {tag: self.state.tags[tag] for tag in _IDENTITY}
        for folder in outbox_folders():
            try:
                kept = RunState.read(folder)  # alone: a checkpoint is large, and may be another's
            except TrackmlError:
                if not folder.exists():
                    continue  # it has finished by now
                raise
            has_identity = kept.store == self.state.store and identity.items() <= kept.tags.items()
            if not (has_identity and are_same(self.state.params, kept.params)):
                continue
            with ExitStack() as lock:
                is_certain = lock.enter_context(run_lock(folder, kept.run_id))
                run = find_run(self.client, kept.run_id) if self.is_reachable else None
                if run and kept.status == "RUNNING" and not is_certain:
                    check_lease(run)
                is_replaced = run and SUCCESSOR_TAG in run.data.tags
                is_deleted = self.is_reachable and kept.run_id and not run
                if is_replaced or is_deleted or not folder.exists():
                    continue  # another run continues it, or it has finished by now
                outbox = Outbox.read(folder)
                if run and "train_loss" in run.data.metrics and not outbox.has_trained:
                    raise _without_checkpoint(outbox)
                self.locks.push(lock.pop_all())
                return outbox, run
        return None

    def _in_store(self) -> Unfinished | None:
        identity = {tag: self.state.tags[tag] for tag in _IDENTITY}
        user = resolve_tags().get(MLFLOW_USER)
        same = (
            run
            for run in queries.resumable_runs(self.client, user or "unknown", identity)
            if run.data.tags.get(MLFLOW_USER) == user
            and are_same(self.state.params, run.data.params)
        )
        run = next(same, None)
        if not run:
            return None
        run_id, tags = run.info.run_id, run.data.tags
        folder = outbox_folder(tags.get(OUTBOX_TAG, run_id))
        is_certain = self.locks.enter_context(run_lock(folder, run_id))
        run = self.client.get_run(run_id)
        if not _is_unfinished(run):
            return None  # it has finished by now
        if not (is_certain and folder.exists()):
            check_lease(run)
        if folder.exists():  # of another address of the store, or of a run that was deleted
            return Outbox.read(folder), run
        state = RunState(
            store=self.state.store,
            experiment="",
            experiment_id=run.info.experiment_id,
            name=run.info.run_name,
            started=run.info.start_time,
            run_id=run_id,
            params=run.data.params,
            tags=tags,
            metrics={name: RunMetric(value, 0) for name, value in run.data.metrics.items()},
        )
        if "train_loss" in run.data.metrics:
            raise _without_checkpoint(Outbox(folder, state))
        return Outbox(folder, state), run


def _is_unfinished(run: MlflowRun) -> bool:
    """True if a run did not finish, or trials of it failed, and no other run continues it."""
    is_complete = run.info.status == "FINISHED" and FAILURE_TAG not in run.data.tags
    return not is_complete and SUCCESSOR_TAG not in run.data.tags


def _without_checkpoint(outbox: Outbox) -> TrackmlError:
    return TrackmlError(
        f"--resume: run {outbox.run_id} has trained, but there is no checkpoint of it in "
        f"{outbox.folder}; resume it where it ran (TRACKML_RUNS_DIR), or leave --resume out"
    )


def _continue(client: MlflowClient, outbox: Outbox, run: MlflowRun | None, state: RunState) -> None:
    """Let an unfinished run continue: as itself, or as the run that `mlflow run` has made.

    Args:
        run: what the store has of it.
        state: of the run that this process would begin otherwise.
    """
    old = outbox.state
    if run and run.info.run_id != old.run_id:  # the run that should continue this one was deleted
        earlier = tuple(each for each in old.predecessors if each != run.info.run_id)
        changes: dict[str, Any] = {"run_id": run.info.run_id, "tags": run.data.tags}
        old = old.model_copy(update=changes | {"predecessors": earlier})
    if state.run_id in ("", old.run_id):
        tags = {key: tag for key, tag in old.tags.items() if key != FAILURE_TAG} | {**state.tags}
        changes = {"tags": tags, "status": "RUNNING", "ended": 0, "is_delivered": False}
        new = old.model_copy(update=changes)
    else:
        changes = {
            "tags": {**state.tags, PREDECESSOR_TAG: old.run_id or outbox.name},
            "metrics": {name: metric for name, metric in old.metrics.items() if metric.at},
            "predecessors": (*old.predecessors, *filter(None, [old.run_id])),
        }
        new = state.model_copy(update=changes)
    if run and queries.delete_unfinished_children(client, run.info.run_id):
        new = new.model_copy(update={"metrics": {}})  # of a sweep: further trials change them
    outbox.replace_state(new)


def mark_dead_runs(client: MlflowClient) -> list[MlflowRun]:
    """Mark RUNNING runs that no process holds as KILLED, with their trials; return them."""
    marked = []
    for found in queries.running_runs(client, PROCESS_TAG):
        run_id, tags = found.info.run_id, found.data.tags
        folder = outbox_folder(tags.get(OUTBOX_TAG, run_id))
        # Another user's folder, or a server's permissions, may keep this user from marking it.
        with suppress(TrackmlError, MlflowException), ExitStack() as lock:
            is_certain = os.access(folder, os.W_OK) and lock.enter_context(run_lock(folder, run_id))
            if not is_certain:
                check_lease(found)  # first: of those that are alive nothing more is asked
            run = client.get_run(run_id)
            if not is_certain:
                check_lease(run)
            if run.info.status == "RUNNING":
                marked.append(_mark_killed(client, run_id, "its process was killed"))
    return marked


def release_run(client: MlflowClient, run_id: str) -> MlflowRun:
    """Take a run from a process that a person knows to be dead; it is KILLED, and can be resumed.

    Raises:
        AlreadyActive: the process is alive on this machine, where the run's folder is visible.
        TrackmlError: there is no such run, or no process holds it.
    """
    run = find_run(client, run_id)
    if not run or PROCESS_TAG not in run.data.tags:
        raise TrackmlError(f"--release {run_id}: there is no such run in {shown_address()}")
    was_held = release(outbox_folder(run.data.tags.get(OUTBOX_TAG, run_id)), run_id)
    if run.info.status == "RUNNING":
        return _mark_killed(client, run_id, "released by hand")
    if not was_held:
        raise TrackmlError(f"--release {run_id}: no process holds it; it is {run.info.status}")
    return run


def _mark_killed(client: MlflowClient, run_id: str, reason: str) -> MlflowRun:
    queries.end_dead_children(client, run_id, "KILLED", reason)
    client.set_tag(run_id, FAILURE_TAG, reason)
    client.set_terminated(run_id, "KILLED")
    return client.get_run(run_id)
