"""Trained models of a task, by how a user names them, to be averaged."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from mlflow.tracking import MlflowClient

from trackml.comparison.champion import Candidate
from trackml.comparison.logged_params import parse_text
from trackml.data import ImageData, TableData
from trackml.errors import TrackmlError, UsageError
from trackml.metrics import MAP, Metric
from trackml.model_files.saving import load_saved
from trackml.models.ensemble import Member
from trackml.process.system import environment
from trackml.tracking import server
from trackml.tracking.registry import numbered_version, trained_model, version_behind

_RUN_ID = re.compile("[0-9a-f]{32}")
_VERSION = re.compile(r"(?:(?P<task>[^/:.@]+)/)?(?P<version>\d+)")
_ALIAS = re.compile(r"(?P<task>[^/:.@]*)@(?P<alias>[\w-]+)")


@dataclass(frozen=True)
class Trained:
    """A finished run's model: `address` names it, whatever happens to aliases."""

    address: str
    run_id: str
    model_id: str
    judged: Candidate
    parameters: int
    validation_split: float | None


@dataclass(frozen=True)
class Members:
    """Models of one task that were validated on the same rows.

    Attributes:
        limit: the fewest training rows of a member that was trained on some of them only; 0 if all
            were trained on all. So an ensemble is a trial if one of its members is.
        metric: the one that ranked the epochs of all; None if they differ in it.
    """

    task: str
    models: tuple[Trained, ...]

    @property
    def limit(self) -> int:
        return min((each.judged.limit for each in self.models if each.judged.limit), default=0)

    @property
    def metric(self) -> Metric | None:
        metrics = {each.judged.metric for each in self.models}
        return metrics.pop() if len(metrics) == 1 else None

    @property
    def addresses(self) -> str:
        """As `find_members` takes them; those that were aliases are versions."""
        return ",".join(each.address for each in self.models)

    @property
    def validation_split(self) -> float:
        """The fraction of the training data that they were validated on.

        Raises:
            UsageError: no run has logged it.
        """
        splits = [s for each in self.models if (s := each.validation_split) is not None]
        if not splits:
            raise UsageError("--members: no run of them has logged its validation_split")
        return splits[0]

    @property
    def tags(self) -> dict[str, str]:
        """Tags that name them: the runs, and their frameworks and architectures."""
        return {
            "trackml.members": " ".join(each.run_id for each in self.models),
            **{
                f"trackml.member_{number}": f"{each.address} {each.judged.architecture} "
                f"({each.judged.framework})"
                for number, each in enumerate(self.models, start=1)
            },
        }

    @property
    def params(self) -> dict[str, str]:
        """What decides the result beside the names that a user has given, which may move."""
        return {
            "member_runs": ",".join(each.run_id for each in self.models),
            "limit": str(self.limit),
        }

    def check_data(self, data: ImageData | TableData) -> None:
        """Raise UsageError unless they were trained on this data, and validated on these rows."""
        judged = self.models[0].judged
        ours = (data.name, data.sha256, len(data.validation))
        theirs = (self.task, judged.data_sha256, judged.validation_samples)
        if ours != theirs:
            raise UsageError(
                f"--members: they were validated on {_shown(*theirs)}; here are {_shown(*ours)}: "
                "give the data that they were trained on"
            )


def find_members(task: str, names: str) -> Members:
    """The models that a text names, such as "3,@dense,0123456789abcdef0123456789abcdef".

    Each is a version of the task's registered model, an alias, or the id of a finished run.

    Raises:
        UsageError: there are fewer than two, one is twice, of another task, not finished, a
            detector or an ensemble; or their data or their validation rows differ.
        TrackmlError: the store cannot be read.
    """
    wanted = [name.strip() for name in names.split(",")]
    if len(wanted) < 2:
        raise UsageError(
            f"--members {names}: expected two models or more, with commas between: versions of "
            f"{task} such as 3, aliases such as @dense, or ids of finished runs"
        )
    client = server.connect(create=False)
    models = [_find(client, task, name) for name in wanted]
    first = models[0]
    for number, each in enumerate(models):
        if earlier := [m for m in models[:number] if m.run_id == each.run_id]:
            raise UsageError(
                f"--members: {wanted[models.index(earlier[0])]} and {wanted[number]} are the same "
                f"model, of run {each.run_id}; name it once"
            )
        for what in ("data_sha256", "validation_samples"):
            own, others = getattr(each.judged, what), getattr(first.judged, what)
            if own != others:
                raise UsageError(
                    f"--members: {wanted[0]} and {wanted[number]} were validated on other rows, "
                    f"so no weights suit both ({what} {str(others)[:12]} and {str(own)[:12]})"
                )
    return Members(task, tuple(models))


@contextmanager
def loaded(members: Members) -> Iterator[list[Member]]:
    """Their models, ready to answer, and their files, for as long as the block lasts."""
    quiet = environment(MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false")
    with TemporaryDirectory(prefix="trackml-") as folder, quiet:
        models = []
        for each in members.models:
            place = Path(folder, each.model_id)
            place.mkdir()
            uri = f"models:/{each.model_id}"
            files = mlflow.artifacts.download_artifacts(uri, dst_path=str(place))
            model: Any = load_saved(files)
            models.append(
                Member(
                    address=each.address,
                    run_id=each.run_id,
                    framework=each.judged.framework,
                    architecture=each.judged.architecture,
                    parameters=each.parameters,
                    folder=Path(files),
                    predict=model.predict,
                )
            )
        yield models


def _find(client: MlflowClient, task: str, name: str) -> Trained:
    """The model that a name means; UsageError if it cannot be a member."""
    given = f"--members {name}"
    address, run_id = (name, name) if _RUN_ID.fullmatch(name) else _registered(client, task, name)
    try:
        run, model_id, judged = trained_model(client, task, run_id, given)
    except TrackmlError as error:
        raise UsageError(str(error)) from None
    if judged.metric == MAP:
        raise UsageError(f"{given}: it finds objects, and such answers have no mean")
    if judged.framework == "ensemble":
        raise UsageError(f"{given}: it is an ensemble; name its members instead")
    split = parse_text(run.data.params.get("validation_split", ""))
    parameters = parse_text(run.data.params.get("model_parameters", ""))
    return Trained(
        address=address,
        run_id=run_id,
        model_id=model_id,
        judged=judged,
        parameters=int(parameters) if isinstance(parameters, float) else 0,
        validation_split=split if isinstance(split, float) else None,
    )


def _registered(client: MlflowClient, task: str, name: str) -> tuple[str, str]:
    """The address of a registered version, and its run."""
    given = f"--members {name}"
    match = _VERSION.fullmatch(name) or _ALIAS.fullmatch(name)
    if not match:
        raise UsageError(
            f"{given}: expected a version such as {task}/3 or 3, an alias such as @dense, or the "
            "id of a run"
        )
    parts = match.groupdict()
    if (parts["task"] or task) != task:
        raise UsageError(f"{given}: it is of the task {parts['task']}, not of {task}")
    if alias := parts.get("alias"):
        version = version_behind(client, task, alias)
    else:
        version = numbered_version(client, task, parts["version"])
    if version is None:
        raise UsageError(f"{given}: {server.shown_address()} has no such version of {task}")
    return f"{task}/{version.version}", str(version.run_id)


def _shown(name: str, data_sha256: str, rows: int) -> str:
    return f"{rows:,} rows of {name} with the sum {data_sha256[:12]}"
