"""Giving aliases by hand: a person decides, but only among models that other code can swap."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mlflow
from mlflow.entities import Run as MlflowRun
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from trackml.errors import TrackmlError, UsageError
from trackml.signals import deferred_signals
from trackml.tracking import reach, registry, store
from trackml.tracking.registry import CHAMPION, Candidate


@dataclass(frozen=True)
class Promotion:
    """A version, and which one held each of its new aliases before, if any."""

    task: str
    version: str
    before: dict[str, str | None]


def promote(task: str, run_id: str, aliases: Sequence[str] = ()) -> Promotion:
    """Give the model of a run aliases of its task: the champion's, unless others are named.

    A model that has not been registered is registered first.

    Raises:
        UsageError: an alias is none that MLflow takes.
        TrackmlError: there is no such finished run of the task; or its model has another signature
            or other data than the champion (without one, than the newest version), so that who
            follows an alias would be led astray.
    """
    wanted = list(dict.fromkeys(aliases)) or [CHAMPION]
    for alias in wanted:
        if alias != CHAMPION:
            _check_alias(alias)
    client = store.connect()
    run = _finished_run(client, task, run_id)
    with store.exclusively("registry"), deferred_signals():
        known = registry.version_of_run(client, task, run_id)
        if other := _reference(client, task, known):
            _refuse_another_kind(client, run, other)
        version = known or registry.new_version(client, run)
        before = registry.give_aliases(client, version, wanted, is_new=not known)
    held = {alias: str(holder.version) if holder else None for alias, holder in before.items()}
    return Promotion(task, str(version.version), held)


def _check_alias(alias: str) -> None:
    try:
        registry.check_names("task", alias)
    except ValueError as error:
        raise UsageError(f"--alias: {error}") from None


def _finished_run(client: MlflowClient, task: str, run_id: str) -> MlflowRun:
    """The run, if it is what can be promoted."""
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        uri = reach.shown_address()
        raise TrackmlError(f"--run {run_id}: there is no such run in {uri}") from None
    trained = run.data.tags.get("trackml.task")
    if trained != task:
        what = f"it is of the task {trained}" if trained else "it is of no task of trackml"
        raise TrackmlError(f"--run {run_id}: {what}, not of {task}")
    problem = (
        (run.info.lifecycle_stage != "active" and "it is in the trash")
        or (run.info.status != "FINISHED" and f"it is {run.info.status}")
        or (registry.model_of(client, run) is None and "it has no model")
    )
    if problem:
        raise TrackmlError(f"--run {run_id}: {problem}; expected a finished run with a model")
    try:
        Candidate.of_run(run)
    except (KeyError, ValueError):
        raise TrackmlError(
            f"--run {run_id}: it lacks a validation score, or tags of trackml's"
        ) from None
    return run


def _reference(client: MlflowClient, task: str, known: ModelVersion | None) -> ModelVersion | None:
    """The version that is champion, else the newest other one."""
    if champion := registry.version_behind(client, task, CHAMPION):
        return champion
    versions = client.search_model_versions(
        f"name = '{task}'", order_by=["version_number DESC"], max_results=2
    )
    others = [each for each in versions if not known or each.version != known.version]
    return others[0] if others else None


def _refuse_another_kind(client: MlflowClient, run: MlflowRun, other: ModelVersion) -> None:
    """Raise if a run's model differs from a version in what it takes, gives, or was taught."""
    found = []
    sums = run.data.tags.get("trackml.data_sha256"), other.tags.get("trackml.data_sha256")
    if sums[0] != sums[1]:
        found.append(f"its data sum is {sums[0]}, and not {sums[1]}")
    ours = _signature(f"models:/{registry.model_of(client, run)}")
    theirs = _signature(f"models:/{other.name}/{other.version}")
    found += [
        f"its {part} are {ours.get(part)}, and not {theirs.get(part)}"
        for part in ("inputs", "outputs")
        if ours.get(part) != theirs.get(part)
    ]
    if found:
        raise TrackmlError(
            f"--run {run.info.run_id}: other code could not use it in place of version "
            f"{other.version}: {'; '.join(found)}"
        )


def _signature(uri: str) -> dict[str, Any]:
    signature = mlflow.models.get_model_info(uri).signature
    return signature.to_dict() if signature else {}
