"""Runs that are over, to compare with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlflow.tracking import MlflowClient

from trackml.params import Params

_RECENT = 200  # runs among which the closest is looked for


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
    tags = {
        "trackml.task": task,
        "trackml.architecture": architecture,
        "trackml.data_sha256": data_sha256,
    }
    conditions = [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
    found = client.search_runs(
        [experiment.experiment_id for experiment in client.search_experiments()],
        " and ".join([*conditions, "attributes.status = 'FINISHED'"]),
        order_by=["attributes.start_time DESC"],
        max_results=_RECENT,
    )
    past = [
        PastRun(run.info.run_id, run.data.metrics, _differences(params, run.data.params))
        for run in found
        if set(metrics) <= run.data.metrics.keys()
    ]
    return min(past, key=lambda run: len(run.differences), default=None)


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
