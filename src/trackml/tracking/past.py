"""Runs that are over: to compare with, or to continue."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from mlflow.entities import Run as MlflowRun
from mlflow.tracking import MlflowClient

from trackml.params import Params
from trackml.tracking.family import FAILURE_TAG, NAME_TAG, SUCCESSOR_TAG
from trackml.tracking.search import all_experiments, search_runs, series

_COLUMNS = [
    *("run_id", "framework", "architecture", "rows", "validation_samples", "seed"),
    *("configuration", "parameters"),
]
CODE_TAG = "trackml.code_sha256"
_RECENT = 200  # runs among which one is looked for
# On the result of a run, or on what trials find.
_WITHOUT_EFFECT = {"resume", "register", "tracking", "concurrency", "ray_address"}


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
        PastRun(run.info.run_id, run.data.metrics, _differing(params, run.data.params))
        for run in _recent(client, task, architecture, data_sha256, metrics)
        if run.info.status == "FINISHED" and set(metrics) <= run.data.metrics.keys()
    ]
    return min(past, key=lambda run: len(run.differences), default=None)


def finished_runs(client: MlflowClient, task: str) -> pd.DataFrame:
    """A row per finished run of a task, the newest first.

    Returns:
        Columns: run_id; framework and architecture; rows, the same for runs that were validated on
        the same ones, and validation_samples, how many; seed; configuration, the same for runs
        that differ in nothing else that has an effect; parameters, how many were trained, nan if
        that was not logged; the last value of each metric by its name, nan where a run has none.
    """
    condition = f"attributes.status = 'FINISHED' and tags.`trackml.task` = '{task}'"
    rows = [_row(run) for run in search_runs(client, condition, newest_first=True)]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=_COLUMNS)


def known_tasks(client: MlflowClient) -> list[str]:
    """The tasks of all finished runs, by name."""
    runs = search_runs(client, "attributes.status = 'FINISHED'", newest_first=True)
    return sorted(
        {run.data.tags["trackml.task"] for run in runs if "trackml.task" in run.data.tags}
    )


def _row(run: MlflowRun) -> dict[str, object]:
    tags, params = run.data.tags, run.data.params
    samples = _number(params.get("validation_samples", ""))
    return {
        **run.data.metrics,
        "run_id": run.info.run_id,
        "framework": tags.get("trackml.framework", "unknown"),
        "architecture": tags.get("trackml.architecture", "unknown"),
        "rows": f"{tags.get('trackml.data_sha256')} {samples}",
        "validation_samples": 0 if math.isnan(samples) else int(samples),
        "seed": _value(params["seed"]) if "seed" in params else run.info.run_id,
        "configuration": _configuration(run),
        "parameters": _number(params.get("model_parameters", "")),
    }


def with_best_epoch(client: MlflowClient, runs: pd.DataFrame) -> pd.DataFrame:
    """The same runs, with train_loss and train_accuracy of their best epochs, and seconds.

    Those are of training and validation in all epochs, and of what frozen layers say. A metric
    that a run does not have per epoch stays as it is.
    """
    runs = runs.copy()
    for index, run in runs.iterrows():
        for metric in ("train_loss", "train_accuracy"):
            by_epoch = series(client, run["run_id"], metric)
            runs.loc[index, metric] = by_epoch.get(int(run["best_epoch"]), run[metric])
        seconds = sum(series(client, run["run_id"], "epoch_seconds").values())
        frozen = run.get("frozen_seconds", 0.0)
        runs.loc[index, "seconds"] = seconds + (0.0 if pd.isna(frozen) else frozen)
    return runs


def _configuration(run: MlflowRun) -> str:
    params = {
        name: _value(text)
        for name, text in run.data.params.items()
        if name not in {"seed", *_WITHOUT_EFFECT}
    }
    # What `auto` became is in the tags.
    tags = [run.data.tags.get(f"trackml.{name}") for name in ("data_sha256", "device", "precision")]
    return json.dumps([params, tags], sort_keys=True)


def unfinished_run(
    client: MlflowClient,
    params: Params,
    *,
    task: str,
    architecture: str,
    data_sha256: str,
    code_sha256: str,
) -> MlflowRun | None:
    """The newest run of the same parameters, data and code that is to be continued.

    One that did not finish, or some of whose trials failed, and that no other run has continued.
    """
    for run in _recent(client, task, architecture, data_sha256):
        if NAME_TAG in run.data.tags:
            continue  # a trial: it belongs to its suite or sweep
        same = are_same(params, run.data.params) and run.data.tags.get(CODE_TAG) == code_sha256
        if same and is_unfinished(run):
            return run
    return None


def with_effect(params: Params) -> dict[str, str]:
    """The parameters that have an effect on the result, as texts."""
    texts = params.as_text()
    return {name: text for name, text in texts.items() if name not in _WITHOUT_EFFECT}


def are_same(params: Params, logged: Mapping[str, str]) -> bool:
    """Whether a run that has logged these parameters is one of `params`."""
    return params.as_text().keys() <= logged.keys() and not _differing(params, logged)


def is_unfinished(run: MlflowRun) -> bool:
    """Whether there is something left to do for a run, and no other run does it."""
    complete = run.info.status == "FINISHED" and FAILURE_TAG not in run.data.tags
    return not complete and SUCCESSOR_TAG not in run.data.tags


def _recent(
    client: MlflowClient,
    task: str,
    architecture: str,
    data_sha256: str,
    metrics: Sequence[str] = (),
) -> Sequence[MlflowRun]:
    """The newest runs that have such metrics: the many trials of a sweep have no test scores."""
    tags = {
        "trackml.task": task,
        "trackml.architecture": architecture,
        "trackml.data_sha256": data_sha256,
    }
    return client.search_runs(
        all_experiments(client),
        " and ".join(
            [
                *(f"tags.`{key}` = '{value}'" for key, value in tags.items()),
                *(f"metrics.`{name}` > -1e300" for name in metrics),
            ]
        ),
        order_by=["attributes.start_time DESC"],
        max_results=_RECENT,
    )


def _differences(params: Params, logged: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(
        name
        for name, text in params.as_text().items()
        if name in logged and _value(logged[name]) != _value(text)
    )


def _differing(params: Params, logged: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(name for name in _differences(params, logged) if name not in _WITHOUT_EFFECT)


def _number(text: str) -> float:
    value = _value(text)
    return value if isinstance(value, float) and math.isfinite(value) else math.nan


def _value(text: str) -> float | str:
    """`mlflow run` logs what was typed: 1e-3 is 0.001, and True is true."""
    try:
        return float(text)
    except ValueError:
        return text.lower()
