"""The registry: a model per task, an alias per architecture, a champion until it is beaten."""

import io
import re
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.entities import LoggedModelStatus, Run as MlflowRun
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from trackml import backends
from trackml.backends import in_standard_settings, keep_triton_out, standard_settings
from trackml.errors import TrackmlError, UsageError, one_line
from trackml.metrics import Metric, ranking_metric
from trackml.process.signals import deferred_signals
from trackml.process.system import environment
from trackml.tracking import server
from trackml.tracking.queries import find_run

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo
    from mlflow.pyfunc import PyFuncModel

CHAMPION = "champion"
ALIASES_TAG = "trackml.aliases"
STILL_CHAMPION = "still champion"
# No such model; no such alias; no such model, on a server that asks for passwords.
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "PERMISSION_DENIED")


@dataclass(frozen=True)
class Candidate:
    """What a version is judged by: its validation score, and on which rows it was reached.

    `aliases` are further ones, beside its architecture's.
    """

    framework: str
    architecture: str
    metric: Metric
    value: float
    data_sha256: str
    validation_samples: int
    aliases: tuple[str, ...] = ()

    @classmethod
    def of_run(cls, run: MlflowRun) -> "Candidate":
        """The model of a run, from what the run has logged."""
        tags, metrics = run.data.tags, run.data.metrics
        metric = ranking_metric(metrics)
        return cls(
            framework=tags["trackml.framework"],
            architecture=tags["trackml.architecture"],
            metric=metric,
            value=metrics[f"best_val_{metric}"],
            data_sha256=tags["trackml.data_sha256"],
            validation_samples=int(run.data.params["validation_samples"]),
            aliases=tuple(tags.get(ALIASES_TAG, "").split()),
        )

    @property
    def tags(self) -> dict[str, str]:
        """Tags of its version."""
        return {
            "trackml.framework": self.framework,
            "trackml.architecture": self.architecture,
            f"trackml.best_val_{self.metric}": repr(self.value),
            "trackml.data_sha256": self.data_sha256,
            "trackml.validation_samples": str(self.validation_samples),
        }


@dataclass(frozen=True)
class Registration:
    """A version in the registry, its aliases, and why it became champion or did not."""

    task: str
    version: str
    aliases: tuple[str, ...]
    reason: str

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
    candidate = Candidate.of_run(run)
    with server.registry_lock(), deferred_signals():
        champion = version_behind(client, task, CHAMPION)
        wins, reason = challenge(champion, candidate)
        registered = version_of_run(client, task, run_id)
        version = registered or _create_version(client, task, model_id, candidate)
        if registered and champion and champion.version == registered.version:
            wins, reason = True, STILL_CHAMPION
        own = (candidate.architecture, *candidate.aliases)
        aliases = (*own, *([CHAMPION] if wins else []))
        _set_aliases(client, version, aliases, is_new=not registered)
    return Registration(task, str(version.version), aliases, reason)


def challenge(champion: ModelVersion | None, candidate: Candidate) -> tuple[bool, str]:
    """True if a candidate becomes champion, and why or why not.

    Scores compare only if they were reached on the same rows: the same data, of which the last
    `validation_samples` training rows were held out.
    """
    score = f"{candidate.metric} {candidate.value:.4f}"
    if champion is None:
        return True, f"the first one, with validation {score}"
    version, held = f"version {champion.version}", champion.tags
    best = held.get(f"trackml.best_val_{candidate.metric}")
    if best is None:
        return False, f"{version} has no validation {candidate.metric} to compare with"
    for name in ("data_sha256", "validation_samples"):
        theirs, ours = held.get(f"trackml.{name}"), candidate.tags[f"trackml.{name}"]
        if theirs != ours:
            return False, (
                f"{version} was validated on other rows, so the two do not compare "
                f"({name} {str(theirs)[:12]}, here {ours[:12]})"
            )
    wins = candidate.metric.better(candidate.value, float(best))
    verb = "beats" if wins else "does not beat"
    return wins, f"validation {score} {verb} {version}'s {float(best):.4f}"


def version_behind(client: MlflowClient, task: str, alias: str) -> ModelVersion | None:
    """The version that has an alias; None if no version does."""
    try:
        return client.get_model_version_by_alias(task, alias)
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise
        return None


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
    return load_uri(model_uri(f"{task}@{alias}"))


def model_uri(address: str) -> str:
    """The models:/ address of a task's champion, of "task@alias", or one that is given as such.

    Raises:
        TrackmlError: there is none in the store.
    """
    client = server.connect()
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
        raise TrackmlError(
            f"{server.shown_address()} has no model {task!r} with alias {alias!r}; run a pipeline "
            "that registers one, or set MLFLOW_TRACKING_URI to the store that has it"
        )
    return f"models:/{task}@{alias}"


def model_info(uri: str) -> "ModelInfo":
    """The signature, metadata and flavors of the model behind a models:/ address that exists."""
    return mlflow.models.get_model_info(uri)


def load_uri(uri: str) -> "PyFuncModel":
    """The model behind a models:/ address that exists."""
    keep_triton_out()  # else PyTorch would import it to load its models
    if "keras" in model_info(uri).flavors:
        backends.keras  # noqa: B018  # imports it without the lines that TensorFlow prints
    with standard_settings(), environment(KERAS_BACKEND="tensorflow"):
        model: PyFuncModel = mlflow.pyfunc.load_model(uri)
    model.predict = in_standard_settings(model.predict)  # type: ignore[method-assign]
    keep_triton_out()  # this model may have been the one that needs TensorFlow
    return model


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
    client = server.connect()
    model_id, candidate = _promotable(client, task, run_id)
    with server.registry_lock(), deferred_signals():
        registered = version_of_run(client, task, run_id)
        if reference := _reference_version(client, task, registered):
            _check_interchangeable(run_id, model_id, candidate, reference)
        version = registered or _create_version(client, task, model_id, candidate)
        before = _set_aliases(client, version, wanted, is_new=not registered)
    held = {alias: str(holder.version) if holder else None for alias, holder in before.items()}
    return Promotion(task, str(version.version), held)


def _promotable(client: MlflowClient, task: str, run_id: str) -> tuple[str, Candidate]:
    """The id of a run's model, and what it is judged by, if it can be promoted."""
    run = find_run(client, run_id, also_deleted=True)
    if not run:
        raise TrackmlError(f"--run {run_id}: there is no such run in {server.shown_address()}")
    trained = run.data.tags.get("trackml.task")
    if trained != task:
        what = f"it is of the task {trained}" if trained else "it is of no task of trackml"
        raise TrackmlError(f"--run {run_id}: {what}, not of {task}")
    status = run.info.status if run.info.lifecycle_stage == "active" else "in the trash"
    model_id = model_of(client, run) if status == "FINISHED" else None
    if model_id is None:
        problem = "has no model" if status == "FINISHED" else f"is {status}"
        raise TrackmlError(f"--run {run_id}: it {problem}; expected a finished run with a model")
    try:
        return model_id, Candidate.of_run(run)
    except (KeyError, ValueError):
        message = f"--run {run_id}: it lacks a validation score, or tags of trackml"
        raise TrackmlError(message) from None


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
    client: MlflowClient, task: str, model_id: str, candidate: Candidate
) -> ModelVersion:
    with redirect_stderr(io.StringIO()):  # MLflow announces each registration there
        version = mlflow.register_model(f"models:/{model_id}", task, tags=candidate.tags)
    score = f"{candidate.value:.4f} best_val_{candidate.metric}"
    # The registry's list shows it at a glance, and cuts tags off.
    description = f"{score}: {candidate.architecture}, {candidate.framework}"
    return client.update_model_version(task, version.version, description)


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
