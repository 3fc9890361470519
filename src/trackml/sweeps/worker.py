"""One trial of a sweep, in a worker of Ray."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trackml.backends import program_settings
from trackml.errors import Pruned, one_line
from trackml.history import Callback
from trackml.metrics import LOSS, Metric
from trackml.params import PipelineParams, TrainingParams
from trackml.sweeps.cluster import ray, tune
from trackml.tracking.queries import ParentRun
from trackml.tracking.run import Result

Main = Callable[..., Result]
"""A pipeline's `main`: takes parameters, callbacks and the parent run."""

SCORE, EPOCH = "score", "epoch"  # keys of what a trial reports to Tune


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: the summary of its history, or why it failed.

    `seconds` are those of its epochs, validation included; `pruned_after` is an epoch.
    """

    name: str
    seconds: float = 0.0
    summary: Mapping[str, float] = field(default_factory=dict)
    failure: str | None = None
    pruned_after: int | None = None


@program_settings()
def run_trial(
    config: Mapping[str, Any],
    *,
    main: Main,
    params: type[PipelineParams],
    parent: ParentRun,
    metric: Metric,
    prune: bool,
) -> dict[str, Any]:
    """Run one trial. Errors are returned, as nothing catches them, and other trials go on."""
    try:
        parsed = params.parse(config["trial"]["values"])
        node = str(ray.get_runtime_context().get_node_id())
        callbacks = []
        if prune and isinstance(parsed, TrainingParams):
            callbacks.append(_pruning_callback(parsed.epochs, metric))
        history = main(parsed, callbacks, parent.of_trial(config["trial"]["name"], node)).history
    except Exception as error:  # noqa: BLE001  # of any kind
        return {"failure": one_line(error)}
    if history.metric not in (metric, LOSS):
        wanted = f"rank_by is {history.metric}, but the metric of its Task is {metric}"
        return {"failure": f"training and sweep must rank by the same metric; {wanted}"}
    return {
        "summary": history.summary,
        "seconds": sum(row["epoch_seconds"] for row in history.rows),
        SCORE: metric.signed(history.best[f"val_{metric}"]),
        EPOCH: len(history.rows),
    }


def _pruning_callback(epochs: int, metric: Metric) -> Callback:
    """Report the best score so far to Tune after each epoch but the last; Tune may prune there."""
    best, seconds = -math.inf, 0.0

    def report(epoch: int, metrics: Mapping[str, float]) -> None:
        nonlocal best, seconds
        if epoch in (0, epochs):
            return  # nothing is trained yet, or nothing is left to be saved
        best = max(best, metric.signed(metrics[f"val_{metric}"]))
        seconds += metrics["epoch_seconds"]
        try:
            tune.report({SCORE: best, EPOCH: epoch, "seconds": seconds})
        except SystemExit:
            raise Pruned(epoch) from None

    return report
