"""Runs within a run: a suite or a sweep is the parent, each of its trials a child."""

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
_ORIGIN = ("mlflow.user", "mlflow.source.")  # tags that say who started a run, from which code


@dataclass(frozen=True)
class Place:
    """Where a child's run goes: into which store, below which parent, and under which name."""

    tracking_uri: str
    parent_id: str
    experiment_id: str
    name: str
    origin: Mapping[str, str]

    def at(self, machine: str) -> "Place":
        """The same place, for a run that is executed on a machine of a cluster."""
        return replace(self, origin={**self.origin, MACHINE_TAG: machine})

    @property
    def tags(self) -> dict[str, str]:
        # A worker's own idea of its origin would be the file that started the worker.
        return {**self.origin, MLFLOW_PARENT_RUN_ID: self.parent_id, NAME_TAG: self.name}


_place: ContextVar[Place | None] = ContextVar("place", default=None)


def place_below(parent: MlflowRun, name: str) -> Place:
    """A child's place below `parent`."""
    origin = {key: tag for key, tag in parent.data.tags.items() if key.startswith(_ORIGIN)}
    return Place(
        mlflow.get_tracking_uri(), parent.info.run_id, parent.info.experiment_id, name, origin
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


def finished_children(
    client: MlflowClient,
    parent: MlflowRun,
    *,
    params: Sequence[str],
    metrics: Sequence[str],
    curves: Sequence[str],
) -> pd.DataFrame:
    """A row per child that has finished: run_id, name, and the parameters and metrics asked for.

    Args:
        curves: metrics of which a list is given, a value per epoch.
    """
    return pd.DataFrame(
        {
            "run_id": child.info.run_id,
            "name": child.data.tags[NAME_TAG],
            **{name: child.data.params[name] for name in params},
            **{name: child.data.metrics[name] for name in metrics},
            **{name: list(series(client, child.info.run_id, name).values()) for name in curves},
        }
        for child in children(client, parent)
        if child.info.status == "FINISHED"
    )


def note_failure(client: MlflowClient, place: Place, reason: str) -> None:
    """A failed run for a child that failed before it had one."""
    run_id = client.create_run(
        place.experiment_id, tags={**place.tags, FAILURE_TAG: reason}, run_name=place.name
    ).info.run_id
    client.set_terminated(run_id, "FAILED")


def finish_orphans(
    client: MlflowClient, parent: MlflowRun, status: Literal["FAILED", "KILLED"], reason: str
) -> None:
    """End the children that nobody works on any more, but that did not live to say so."""
    for child in children(client, parent):
        if child.info.status == "RUNNING":
            client.set_tag(child.info.run_id, FAILURE_TAG, reason)
            client.set_terminated(child.info.run_id, status)


def discard_unfinished(client: MlflowClient, parent: MlflowRun) -> None:
    """Move the children that did not finish to MLflow's trash: they are to be run again."""
    finish_orphans(client, parent, "KILLED", "its process was killed")
    for child in children(client, parent):
        if child.info.status != "FINISHED":
            client.delete_run(child.info.run_id)


def adopt(client: MlflowClient, old: MlflowRun, new_id: str) -> None:
    """Make the children of one parent those of another, which carries on in its place."""
    for child in children(client, old):
        client.set_tag(child.info.run_id, MLFLOW_PARENT_RUN_ID, new_id)
    client.set_tag(old.info.run_id, SUCCESSOR_TAG, new_id)
    if old.info.status != "FINISHED":
        client.set_terminated(old.info.run_id, "KILLED")
