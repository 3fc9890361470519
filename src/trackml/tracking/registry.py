"""The registry: a model per task, an alias per architecture, a champion until it is beaten."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.entities import LoggedModelStatus, Run as MlflowRun
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from trackml.comparison.champion import LIMIT_TAG, Candidate, challenge, limit_of, of_all_rows
from trackml.errors import TrackmlError, UsageError, one_line
from trackml.model_files.saving import load_saved
from trackml.process.signals import deferred_signals
from trackml.tracking import server
from trackml.tracking.queries import find_run
from trackml.ui.cards import is_own, registered_card, run_card

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo
    from mlflow.pyfunc import PyFuncModel

CHAMPION = "champion"
STILL_CHAMPION = "still champion"
# No such model; no such alias; no such model, on a server that asks for passwords.
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "PERMISSION_DENIED")


@dataclass(frozen=True)
class Registration:
    """A version in the registry, its aliases, and why it became champion or did not.

    `withheld` are aliases that it asked for and did not get, with the reason.
    """

    task: str
    version: str
    aliases: tuple[str, ...]
    reason: str
    withheld: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_champion(self) -> bool:
        return CHAMPION in self.aliases


def register_run(client: MlflowClient, run_id: str) -> Registration:
    """Make a run's model its task's next version, set its aliases, and challenge the champion.

    If the run has a version already, it is used. A request to stop waits until this is done. An
    error removes a new version.
    """
    run = client.get_run(run_id)
    task, model_id = run.data.tags["trackml.task"], model_of(client, run)
    if model_id is None:
        raise TrackmlError(f"run {run_id} has logged no complete model")
    candidate = Candidate.of_run(run.data.tags, run.data.params, run.data.metrics)
    with server.registry_lock(), deferred_signals():
        champion = version_behind(client, task, CHAMPION)
        champion_limit = _limit_of(client, champion) if champion else 0
        wins, reason = challenge(champion, candidate, champion_limit=champion_limit)
        own = (candidate.architecture, *candidate.aliases)
        withheld = _withheld(client, task, own, candidate)
        registered = version_of_run(client, task, run_id)
        version = registered or _create_version(client, run, model_id, candidate)
        if registered and champion and champion.version == registered.version:
            wins, reason = True, STILL_CHAMPION
        granted = tuple(alias for alias in own if alias not in withheld)
        aliases = (*granted, *([CHAMPION] if wins else []))
        _set_aliases(client, version, aliases, is_new=not registered)
    return Registration(task, str(version.version), aliases, reason, withheld)


def _withheld(
    client: MlflowClient, task: str, aliases: Sequence[str], candidate: Candidate
) -> dict[str, str]:
    """Those of its aliases that a candidate leaves to a full run, as it is a trial, and why."""
    if not candidate.limit:
        return {}
    holders = {alias: version_behind(client, task, alias) for alias in aliases}
    return {
        alias: of_all_rows(holder, candidate)
        for alias, holder in holders.items()
        if holder and not _limit_of(client, holder)
    }


def _limit_of(client: MlflowClient, version: ModelVersion) -> int:
    """As `Candidate.limit`. Older versions have no tag of it, but perhaps a run."""
    if (tag := version.tags.get(LIMIT_TAG)) is not None:
        return int(tag)
    run = find_run(client, version.run_id or "", also_deleted=True)
    return limit_of(run.data.params) if run else 0


def version_behind(client: MlflowClient, task: str, alias: str) -> ModelVersion | None:
    """The version that has an alias; None if no version does."""
    return _unless_absent(client.get_model_version_by_alias, task, alias)


def numbered_version(client: MlflowClient, task: str, number: str) -> ModelVersion | None:
    """The version of that number; None if there is none."""
    return _unless_absent(client.get_model_version, task, number)


def _unless_absent(get: Callable[[str, str], Any], task: str, key: str) -> ModelVersion | None:
    try:
        version: ModelVersion = get(task, key)
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise
        return None
    return version


def version_of_run(client: MlflowClient, task: str, run_id: str) -> ModelVersion | None:
    """The version of a run's model; None if it has not been registered."""
    versions = client.search_model_versions(f"name = '{task}' and run_id = '{run_id}'")
    return versions[0] if versions else None


def check_names(task: str, *aliases: str) -> None:
    """Raise ValueError, before any training, for a model or alias that MLflow would refuse."""
    if not task or set(task) & set("/:."):
        raise ValueError(f"a task's name has none of / : and . in it. Received: {task!r}")
    for alias in aliases:
        reserved = re.fullmatch(rf"{CHAMPION}|latest|v\d+", alias, re.IGNORECASE)
        if reserved or not re.fullmatch(r"[\w-]{1,255}", alias):
            raise ValueError(
                "an alias has letters, digits, - and _ only, at most 255, and is not 'champion', "
                f"'latest' or a version such as 'v3'. Received: {alias!r}"
            )


def load_model(task: str, alias: str) -> "PyFuncModel":
    """The version of a task's model behind an alias; TrackmlError if there is none."""
    return load_saved(model_uri(f"{task}@{alias}"))


def model_uri(address: str) -> str:
    """The models:/ address of a task's champion, of "task@alias", or one that is given as such.

    Raises:
        TrackmlError: there is none in the store.
    """
    client = server.connect(create=False)
    scheme, _, name = address.rpartition(":/")
    if scheme and "@" not in name:
        try:
            model_info(address)
        except (MlflowException, OSError) as error:
            store = server.shown_address()
            raise TrackmlError(f"{store} has no model {address}: {one_line(error)}") from None
        return address
    task, _, alias = name.partition("@")
    alias = alias or CHAMPION
    if version_behind(client, task, alias) is None:
        there = ", ".join(model.name for model in client.search_registered_models()) or "none"
        raise TrackmlError(
            f"{server.shown_address()} has no model {task!r} with alias {alias!r}; there: {there}. "
            "Run a pipeline that registers one, or set MLFLOW_TRACKING_URI to the store that has it"
        )
    return f"models:/{task}@{alias}"


def model_info(uri: str) -> "ModelInfo":
    """The signature, metadata and flavors of the model behind a models:/ address that exists."""
    return mlflow.models.get_model_info(uri)


@dataclass(frozen=True)
class Promotion:
    """A version, and which version had each of its new aliases before, if any."""

    task: str
    version: str
    before: dict[str, str | None]


def promote(task: str, run_id: str, aliases: Sequence[str] = ()) -> Promotion:
    """Give the model of a run aliases of its task: the champion's, unless others are named.

    A model that has not been registered is registered first.

    Raises:
        UsageError: MLflow does not allow one of the aliases.
        TrackmlError: the task has no such finished run; or its model has another signature or other
            data than the champion (without one, than the newest version).
    """
    wanted = list(dict.fromkeys(aliases)) or [CHAMPION]
    try:
        check_names("task", *(alias for alias in wanted if alias != CHAMPION))
    except ValueError as error:
        raise UsageError(f"--alias: {error}") from None
    client = server.connect(create=False)
    run, model_id, candidate = trained_model(client, task, run_id, f"--run {run_id}")
    with server.registry_lock(), deferred_signals():
        registered = version_of_run(client, task, run_id)
        if reference := _reference_version(client, task, registered):
            _check_interchangeable(run_id, model_id, candidate, reference)
        version = registered or _create_version(client, run, model_id, candidate)
        before = _set_aliases(client, version, wanted, is_new=not registered)
    held = {alias: str(holder.version) if holder else None for alias, holder in before.items()}
    return Promotion(task, str(version.version), held)


def trained_model(
    client: MlflowClient, task: str, run_id: str, given: str
) -> tuple[MlflowRun, str, Candidate]:
    """A finished run of a task, the id of its model, and what that is judged by.

    Args:
        given: how the user named it, for the error.

    Raises:
        TrackmlError: the task has no such finished run with a model.
    """
    run = find_run(client, run_id, also_deleted=True)
    if not run:
        raise TrackmlError(f"{given}: there is no such run in {server.shown_address()}")
    trained = run.data.tags.get("trackml.task")
    if trained != task:
        what = f"it is of the task {trained}" if trained else "it is of no task of trackml"
        raise TrackmlError(f"{given}: {what}, not of {task}")
    status = run.info.status if run.info.lifecycle_stage == "active" else "in the trash"
    model_id = model_of(client, run) if status == "FINISHED" else None
    if model_id is None:
        problem = "has no model" if status == "FINISHED" else f"is {status}"
        raise TrackmlError(f"{given}: it {problem}; expected a finished run with a model")
    try:
        candidate = Candidate.of_run(run.data.tags, run.data.params, run.data.metrics)
    except (KeyError, ValueError):
        message = f"{given}: it lacks a validation score, or tags of trackml"
        raise TrackmlError(message) from None
    return run, model_id, candidate


def _reference_version(
    client: MlflowClient, task: str, own: ModelVersion | None
) -> ModelVersion | None:
    """The champion, else the newest version that is not the run's own."""
    if champion := version_behind(client, task, CHAMPION):
        return champion
    newest = client.search_model_versions(
        f"name = '{task}'", order_by=["version_number DESC"], max_results=2
    )
    return next((each for each in newest if not own or each.version != own.version), None)


def _check_interchangeable(
    run_id: str, model_id: str, candidate: Candidate, reference: ModelVersion
) -> None:
    """Raise if a model differs from a version in its input, output or training data."""

    def description(uri: str, data_sha256: str | None) -> dict[str, Any]:
        signature = mlflow.models.get_model_info(uri).signature
        return {"data sum is": data_sha256} | {
            f"{part} are": signature and signature.to_dict().get(part)
            for part in ("inputs", "outputs")
        }

    ours = description(f"models:/{model_id}", candidate.data_sha256)
    uri = f"models:/{reference.name}/{reference.version}"
    theirs = description(uri, reference.tags.get("trackml.data_sha256"))
    different = [part for part in ours if ours[part] != theirs[part]]
    problems = [f"its {part} {ours[part]}, and not {theirs[part]}" for part in different]
    if problems:
        raise TrackmlError(
            f"--run {run_id}: other code could not use it in place of version "
            f"{reference.version}: {'; '.join(problems)}"
        )


def model_of(client: MlflowClient, run: MlflowRun) -> str | None:
    """The id of the last complete model that a run has logged; None if there is none."""
    for output in reversed(run.outputs.model_outputs if run.outputs else []):
        if client.get_logged_model(output.model_id).status == LoggedModelStatus.READY:
            return str(output.model_id)
    return None


def _create_version(
    client: MlflowClient, run: MlflowRun, model_id: str, candidate: Candidate
) -> ModelVersion:
    tags, params = run.data.tags, run.data.params
    task = tags["trackml.task"]
    with redirect_stderr(io.StringIO()):  # MLflow announces each registration there
        version = mlflow.register_model(f"models:/{model_id}", task, tags=candidate.tags)
    score = f"{candidate.value:.4f} best_val_{candidate.metric}"
    # The registry's list shows it at a glance, and cuts tags off.
    headline = f"{score}: {candidate.architecture}, {candidate.framework}"
    inputs = run.inputs.dataset_inputs if run.inputs else []
    source = inputs[0].dataset.source if inputs else ""
    load = f"models:/{task}/{version.version}"
    card = run_card(tags, params, run.data.metrics, source, headline=headline, load=load)
    registered = client.get_registered_model(task)
    of_all = registered_card(tags, params)
    with suppress(MlflowException):  # a server may let others than its owner add versions only
        if is_own(registered.description) and registered.description != of_all:
            client.update_registered_model(task, of_all)
    return client.update_model_version(task, version.version, card)


def _set_aliases(
    client: MlflowClient, version: ModelVersion, aliases: Sequence[str], *, is_new: bool
) -> dict[str, ModelVersion | None]:
    """Give a version aliases, all or none; return the version that had each before.

    Where the version is new, an error removes it too.
    """
    task = version.name
    before = {alias: version_behind(client, task, alias) for alias in aliases}
    changed = []
    try:
        for alias in aliases:
            client.set_registered_model_alias(task, alias, version.version)
            changed.append(alias)
    except MlflowException:
        if is_new:
            client.delete_model_version(task, version.version)  # and its aliases
        for alias in changed:
            if holder := before[alias]:
                client.set_registered_model_alias(task, alias, holder.version)
            elif not is_new:
                client.delete_registered_model_alias(task, alias)
        raise
    return before
