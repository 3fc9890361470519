"""The registry: a model per task, an alias per architecture, and a champion until it is beaten."""

import io
import re
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from typing import TYPE_CHECKING

import mlflow
from mlflow.entities import LoggedModelStatus
from mlflow.entities import Run as MlflowRun
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from trackml.errors import TrackmlError
from trackml.history import HIGHER_IS_BETTER, Metric
from trackml.signals import deferred_signals
from trackml.tracking import reach, store
from trackml.triton import keep_triton_out

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

CHAMPION = "champion"
ALIASES_TAG = "trackml.aliases"
# No such model; no such alias; no such model, on a server that asks for passwords.
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "PERMISSION_DENIED")


@dataclass(frozen=True)
class Candidate:
    """What a version is judged by: its validation score, and on which rows it was reached.

    `aliases` are those that it takes beside its architecture's.
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
        """The candidate that a run has trained, from what the run has logged."""
        tags, metrics = run.data.tags, run.data.metrics
        (metric,) = (name for name in HIGHER_IS_BETTER if f"best_val_{name}" in metrics)
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
        return {
            "trackml.framework": self.framework,
            "trackml.architecture": self.architecture,
            f"trackml.best_val_{self.metric}": repr(self.value),
            "trackml.data_sha256": self.data_sha256,
            "trackml.validation_samples": str(self.validation_samples),
        }

    @property
    def in_words(self) -> str:
        return f"{self.value:.4f} best_val_{self.metric}: {self.architecture}, {self.framework}"


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


def model_of(client: MlflowClient, run: MlflowRun) -> str | None:
    """The id of the complete model that a run has logged last, None if there is none."""
    outputs = run.outputs.model_outputs if run.outputs else []
    for output in reversed(outputs):
        if client.get_logged_model(output.model_id).status == LoggedModelStatus.READY:
            return str(output.model_id)
    return None


def register_run(client: MlflowClient, run_id: str) -> Registration:
    """Register the model that a run has logged; if it has a version, see to that one's aliases."""
    run = client.get_run(run_id)
    return register(
        client,
        task=run.data.tags["trackml.task"],
        model_id=_its_model(client, run),
        candidate=Candidate.of_run(run),
        run_id=run_id,
    )


def register(
    client: MlflowClient,
    *,
    task: str,
    model_id: str,
    candidate: Candidate,
    run_id: str | None = None,
) -> Registration:
    """Make a logged model its task's next version, under its aliases, and challenge the champion.

    A request to stop waits until this is done. An error takes a new version back.

    Args:
        run_id: if this run has a version already, it is used instead of a new one.
    """
    with store.exclusively("registry"), deferred_signals():
        champion = version_behind(client, task, CHAMPION)
        wins, reason = challenge(champion, candidate)
        known = version_of_run(client, task, run_id) if run_id else None
        version = known or _new_version(client, task, model_id, candidate)
        if known and champion and champion.version == known.version:
            wins, reason = True, "it was already"
        own = (candidate.architecture, *candidate.aliases)
        aliases = (*own, *([CHAMPION] if wins else []))
        give_aliases(client, version, aliases, is_new=not known)
    return Registration(task, str(version.version), aliases, reason)


def give_aliases(
    client: MlflowClient, version: ModelVersion, aliases: Sequence[str], *, is_new: bool
) -> dict[str, ModelVersion | None]:
    """Let a version have aliases, all or none; return who held each before.

    Args:
        is_new: an error takes the version back, too.
    """
    task = version.name
    before = {alias: version_behind(client, task, alias) for alias in aliases}
    given = []
    try:
        for alias in aliases:
            client.set_registered_model_alias(task, alias, version.version)
            given.append(alias)
    except MlflowException:
        if is_new:
            client.delete_model_version(task, version.version)  # and its aliases
        for alias in given:
            if holder := before[alias]:
                client.set_registered_model_alias(task, alias, holder.version)
            elif not is_new:
                client.delete_registered_model_alias(task, alias)
        raise
    return before


def new_version(client: MlflowClient, run: MlflowRun) -> ModelVersion:
    """Make the model that a run has logged the next version of its task, without an alias."""
    model_id = _its_model(client, run)
    return _new_version(client, run.data.tags["trackml.task"], model_id, Candidate.of_run(run))


def _its_model(client: MlflowClient, run: MlflowRun) -> str:
    model_id = model_of(client, run)
    if model_id is None:
        raise TrackmlError(f"run {run.info.run_id} has logged no complete model")
    return model_id


def _new_version(
    client: MlflowClient, task: str, model_id: str, candidate: Candidate
) -> ModelVersion:
    with redirect_stderr(io.StringIO()):  # MLflow announces each registration there
        version = mlflow.register_model(f"models:/{model_id}", task, tags=candidate.tags)
    # What the list of versions shows at a glance: tags are cut off there.
    return client.update_model_version(task, version.version, candidate.in_words)


def version_of_run(client: MlflowClient, task: str, run_id: str) -> ModelVersion | None:
    """The version of a run's model, None if it has not been registered."""
    found = client.search_model_versions(f"name = '{task}' and run_id = '{run_id}'")
    return found[0] if found else None


def check_names(task: str, *aliases: str) -> None:
    """Refuse, before any training, what MLflow would refuse as a model's name or as an alias.

    Args:
        aliases: of the architecture, and others.

    Raises:
        ValueError: one of them will not do.
    """
    if not task or set(task) & set("/:."):
        raise ValueError(f"a task's name has none of / : and . in it. Received: {task!r}")
    for alias in aliases:
        reserved = re.fullmatch(rf"{CHAMPION}|latest|v\d+", alias, re.IGNORECASE)
        if reserved or not re.fullmatch(r"[\w-]{1,255}", alias):
            raise ValueError(
                "an alias has letters, digits, - and _ only, at most 255, and is not 'champion', "
                f"'latest' or a version such as 'v3'. Received: {alias!r}"
            )


def version_behind(client: MlflowClient, task: str, alias: str) -> ModelVersion | None:
    """The version that holds an alias, None if no version does."""
    try:
        return client.get_model_version_by_alias(task, alias)
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise
        return None


def challenge(holder: ModelVersion | None, candidate: Candidate) -> tuple[bool, str]:
    """Whether `candidate` beats `holder`, and why.

    Scores compare only if they were reached on the same rows: the same data, of which the last
    `validation_samples` training rows were held out.
    """
    score = f"{candidate.metric} {candidate.value:.4f}"
    if holder is None:
        return True, f"the first one, with validation {score}"
    tags = holder.tags
    known = tags.get(f"trackml.best_val_{candidate.metric}")
    if known is None:
        return (
            False,
            f"version {holder.version} has no validation {candidate.metric} to compare with",
        )
    for tag in ("trackml.data_sha256", "trackml.validation_samples"):
        if tags.get(tag) != candidate.tags[tag]:
            return False, (
                f"version {holder.version} was validated on other rows, so the two do not compare "
                f"({tag.removeprefix('trackml.')} {str(tags.get(tag))[:12]}, here "
                f"{candidate.tags[tag][:12]})"
            )
    held = float(known)
    wins = candidate.value > held if HIGHER_IS_BETTER[candidate.metric] else candidate.value < held
    verb = "beats" if wins else "does not beat"
    return wins, f"validation {score} {verb} version {holder.version}'s {held:.4f}"


def load_model(task: str, alias: str) -> "PyFuncModel":
    """The version of a task's model behind an alias.

    Raises:
        TrackmlError: there is none.
    """
    client = store.connect()
    if version_behind(client, task, alias) is None:
        uri = reach.shown_address()
        raise TrackmlError(
            f"{uri} has no model {task!r} with alias {alias!r}; run a pipeline that registers one, "
            "or set MLFLOW_TRACKING_URI to the store that has it"
        )
    keep_triton_out()  # else PyTorch would import it to load its models
    model: PyFuncModel = mlflow.pyfunc.load_model(f"models:/{task}@{alias}")
    keep_triton_out()  # this model may have been the one that needs TensorFlow
    return model
