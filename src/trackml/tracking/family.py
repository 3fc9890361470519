"""Runs within a run: a suite or a sweep is the parent, each of its trials a child."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Literal

import mlflow
import pandas as pd
from mlflow.entities import Run as MlflowRun
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from trackml.tracking.search import search_runs, series

NAME_TAG = "trackml.trial"
MACHINE_TAG = "trackml.ray_node"
FAILURE_TAG = "trackml.failure"
SUCCESSOR_TAG = "trackml.successor"
PRUNED_TAG = "trackml.pruned"
CANDIDATE_TAG = "trackml.candidate"  # of a run that is chosen among, and has no test scores
_ORIGIN = ("mlflow.user", "mlflow.source.")  # tags that say who started a run, from which code


@dataclass(frozen=True)
class Place:
    """Where a child's run goes: into which store, below which parent, and under which name.

    `scores_test` is false for one that is to be chosen among: the test data must not see it.
    """

    tracking_uri: str
    parent_id: str
    experiment_id: str
    name: str
    origin: Mapping[str, str]
    scores_test: bool = True

    def called(self, name: str) -> "Place":
        """A place beside this one, for the run of that name."""
        return replace(self, name=name)

    def at(self, machine: str) -> "Place":
        """The same place, for a run that is executed on a machine of a cluster."""
        return replace(self, origin={**self.origin, MACHINE_TAG: machine})

    @property
    def tags(self) -> dict[str, str]:
        # A worker's own idea of its origin would be the file that started the worker.
        own = {MLFLOW_PARENT_RUN_ID: self.parent_id, NAME_TAG: self.name}
        return {**self.origin, **own, **({} if self.scores_test else {CANDIDATE_TAG: "true"})}


_place: ContextVar[Place | None] = ContextVar("place", default=None)


def place_below(parent: MlflowRun, name: str = "", *, scores_test: bool = True) -> Place:
    """A child's place below `parent`."""
    origin = {key: tag for key, tag in parent.data.tags.items() if key.startswith(_ORIGIN)}
    return Place(
        mlflow.get_tracking_uri(),
        parent.info.run_id,
        parent.info.experiment_id,
        name,
        origin,
        scores_test,
    )


def current_place() -> Place | None:
    """Where runs of this context go, if `placed` said so."""
    return _place.get()


@contextmanager
def placed(place: Place) -> Iterator[None]:
    """Let runs that are made in the block go there, whatever `mlflow run` says.

    The store stays this process's afterwards.
    """
    mlflow.set_tracking_uri(place.tracking_uri)
    token = _place.set(place)
    try:
        yield
    finally:
        _place.reset(token)


def children(client: MlflowClient, parent: MlflowRun) -> list[MlflowRun]:
    """All runs below a parent, oldest first."""
    # In all experiments, as those that were adopted may be elsewhere. All at once, as what is
    # done to them would change the pages.
    condition = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent.info.run_id}'"
    return list(search_runs(client, condition, newest_first=False))


def children_table(
    client: MlflowClient,
    parent: MlflowRun,
    *,
    params: Sequence[str],
    metrics: Sequence[str],
    curves: Sequence[str],
) -> pd.DataFrame:
    """A row per child, oldest first: run_id, name, state, and what is asked for.

    The state is as `state_of` has it; is_candidate, and when it ended, in milliseconds, are there
    too. Of parameters and metrics that a child has not logged it has None, and nan.

    Args:
        curves: metrics of which a list is given, a value per epoch.
    """
    rows = [
        {
            "run_id": child.info.run_id,
            "name": child.data.tags[NAME_TAG],
            "state": state_of(child),
            "is_candidate": is_candidate(child),
            "ended": child.info.end_time,
            **{name: child.data.params.get(name) for name in params},
            **{name: child.data.metrics.get(name, math.nan) for name in metrics},
            **{name: curve(client, child, name) for name in curves},
        }
        for child in children(client, parent)
    ]
    own = ["run_id", "name", "state", "is_candidate", "ended"]
    return pd.DataFrame(rows, columns=[*own, *params, *metrics, *curves])


def is_candidate(child: MlflowRun) -> bool:
    """Whether a child is one to be chosen among, not scored on the test data."""
    return CANDIDATE_TAG in child.data.tags


def curve(client: MlflowClient, child: MlflowRun, metric: str) -> list[float]:
    """A metric's value in each epoch, not that of the untrained model."""
    return [value for step, value in series(client, child.info.run_id, metric).items() if step]


def state_of(child: MlflowRun) -> str:
    """What became of a trial: "finished", "pruned", "failed", or "running" if it has not ended."""
    if PRUNED_TAG in child.data.tags:
        return "pruned"
    return {"FINISHED": "finished", "RUNNING": "running"}.get(child.info.status, "failed")


def note_failure(client: MlflowClient, place: Place, reason: str) -> None:
    """A failed run for a child that failed before it had one."""
    run_id = client.create_run(
        place.experiment_id, tags={**place.tags, FAILURE_TAG: reason}, run_name=place.name
    ).info.run_id
    client.set_terminated(run_id, "FAILED")


def mark_pruned(client: MlflowClient, run_id: str, epoch: int) -> None:
    """End a trial that was given up after an epoch in favour of better ones; it has not failed."""
    client.set_tag(run_id, PRUNED_TAG, f"after epoch {epoch}")
    client.set_terminated(run_id, "KILLED")


def finish_orphans(
    client: MlflowClient, parent: MlflowRun, status: Literal["FAILED", "KILLED"], reason: str
) -> None:
    """End the children that nobody works on any more, but that did not live to say so."""
    for child in children(client, parent):
        if child.info.status != "RUNNING":
            continue
        if PRUNED_TAG in child.data.tags:  # it got to say that much
            client.set_terminated(child.info.run_id, "KILLED")
        else:
            client.set_tag(child.info.run_id, FAILURE_TAG, reason)
            client.set_terminated(child.info.run_id, status)


def discard_unfinished(client: MlflowClient, parent: MlflowRun) -> None:
    """Move the children that did not come to their end to MLflow's trash: they are run again.

    Those that were pruned did come to it.
    """
    finish_orphans(client, parent, "KILLED", "its process was killed")
    for child in children(client, parent):
        if state_of(child) == "failed":
            client.delete_run(child.info.run_id)


def adopt(client: MlflowClient, old: MlflowRun, new_id: str) -> None:
    """Make the children of one parent those of another, which carries on in its place."""
    for child in children(client, old):
        client.set_tag(child.info.run_id, MLFLOW_PARENT_RUN_ID, new_id)
    client.set_tag(old.info.run_id, SUCCESSOR_TAG, new_id)
    if old.info.status not in ("FINISHED", "KILLED"):
        client.set_terminated(old.info.run_id, "KILLED", old.info.end_time)
