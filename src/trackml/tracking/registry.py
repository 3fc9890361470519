"""The registry: a model per task, an alias per architecture, and a champion until it is beaten."""

import io
import re
from contextlib import redirect_stderr
from dataclasses import dataclass
from typing import TYPE_CHECKING

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from trackml.errors import TrackmlError
from trackml.history import HIGHER_IS_BETTER, Metric
from trackml.signals import deferred_signals
from trackml.tracking import store

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

CHAMPION = "champion"
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # no such model, no such alias


@dataclass(frozen=True)
class Candidate:
    """What a version is judged by: its validation score, and on which rows it was reached."""

    framework: str
    architecture: str
    metric: Metric
    value: float
    data_sha256: str
    validation_samples: int

    @property
    def tags(self) -> dict[str, str]:
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


def register(
    client: MlflowClient, *, task: str, model_id: str, candidate: Candidate
) -> Registration:
    """Make a logged model its task's next version, under its alias, and challenge the champion.

    A request to stop waits until this is done. An error takes the new version back.
    """
    with store.exclusively("registry"), deferred_signals():
        before = version_behind(client, task, candidate.architecture)
        wins, reason = challenge(version_behind(client, task, CHAMPION), candidate)
        aliases = (candidate.architecture, *([CHAMPION] if wins else []))
        with redirect_stderr(io.StringIO()):  # MLflow announces each registration there
            version = mlflow.register_model(f"models:/{model_id}", task, tags=candidate.tags)
        try:
            for alias in aliases:
                client.set_registered_model_alias(task, alias, version.version)
        except MlflowException:
            client.delete_model_version(task, version.version)
            if before:
                client.set_registered_model_alias(task, candidate.architecture, before.version)
            raise
    return Registration(task, str(version.version), aliases, reason)


def check_names(task: str, architecture: str) -> None:
    """Refuse, before any training, what MLflow would refuse as a model's name or as an alias.

    Raises:
        ValueError: one of them will not do.
    """
    if not task or set(task) & set("/:."):
        raise ValueError(f"a task's name has none of / : and . in it. Received: {task!r}")
    reserved = architecture in (CHAMPION, "latest") or re.fullmatch(r"v\d+", architecture)
    if reserved or not re.fullmatch(r"[\w-]+", architecture):
        raise ValueError(
            "an architecture's name has letters, digits, - and _ only, and is not 'champion', "
            f"'latest' or a version such as 'v3'. Received: {architecture!r}"
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
                f"({tag.removeprefix('trackml.')} {tags.get(tag)}, here {candidate.tags[tag]})"
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
        uri = store.without_password(mlflow.get_tracking_uri())
        raise TrackmlError(
            f"{uri} has no model {task!r} with alias {alias!r}; run a pipeline that registers one, "
            "or set MLFLOW_TRACKING_URI to the store that has it"
        )
    model: PyFuncModel = mlflow.pyfunc.load_model(f"models:/{task}@{alias}")
    return model
