"""Runs that are over: to compare with, or to continue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlflow.entities import Run as MlflowRun
from mlflow.tracking import MlflowClient

from trackml.params import Params
from trackml.tracking.family import FAILURE_TAG, SUCCESSOR_TAG
from trackml.tracking.store import all_experiments

_RECENT = 200  # runs among which one is looked for
_WITHOUT_EFFECT = {"resume", "register", "concurrency", "ray_address"}  # on what trials find


@dataclass(frozen=True)
class PastRun:
    """A finished run: its last metrics, and the parameters in which it differs from another one."""

    run_id: str
    metrics: Mapping[str, float]
    differences: tuple[str, ...]

    @property
    def notes(self) -> list[str]:
        """What a reader of a comparison with this run must know."""
        return [
            f"Compared with run {self.run_id}; one run each (n = 1), so no spread is known.",
            f"The runs differ in: {', '.join(self.differences) or 'nothing'}.",
        ]


def closest_run(
    client: MlflowClient,
    params: Params,
    *,
    task: str,
    architecture: str,
    data_sha256: str,
    metrics: Sequence[str],
) -> PastRun | None:
    """The finished run of an architecture, on the same data, whose parameters differ least.

    Only runs that have all of `metrics`; among equals the newest; None if there is none.
    """
    past = [
        PastRun(run.info.run_id, run.data.metrics, _differences(params, run.data.params))
        for run in _recent(client, task, architecture, data_sha256)
        if run.info.status == "FINISHED" and set(metrics) <= run.data.metrics.keys()
    ]
    return min(past, key=lambda run: len(run.differences), default=None)


def unfinished_run(
    client: MlflowClient, params: Params, *, task: str, architecture: str, data_sha256: str
) -> MlflowRun | None:
    """The newest run of the same parameters and data that is to be continued.

    One that did not finish, or some of whose trials failed, and that no other run has continued.
    """
    names = params.as_text().keys()
    for run in _recent(client, task, architecture, data_sha256):
        same = set(_differences(params, run.data.params)) <= _WITHOUT_EFFECT
        if same and names <= run.data.params.keys() and is_unfinished(run):
            return run
    return None


def is_unfinished(run: MlflowRun) -> bool:
    """Whether there is something left to do for a run, and no other run does it."""
    complete = run.info.status == "FINISHED" and FAILURE_TAG not in run.data.tags
    return not complete and SUCCESSOR_TAG not in run.data.tags


def _recent(
    client: MlflowClient, task: str, architecture: str, data_sha256: str
) -> Sequence[MlflowRun]:
    tags = {
        "trackml.task": task,
        "trackml.architecture": architecture,
        "trackml.data_sha256": data_sha256,
    }
    return client.search_runs(
        all_experiments(client),
        " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items()),
        order_by=["attributes.start_time DESC"],
        max_results=_RECENT,
    )


def _differences(params: Params, logged: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(
        name
        for name, text in params.as_text().items()
        if name in logged and _value(logged[name]) != _value(text)
    )


def _value(text: str) -> float | str:
    """`mlflow run` logs what was typed: 1e-3 is 0.001, and True is true."""
    try:
        return float(text)
    except ValueError:
        return text.lower()
