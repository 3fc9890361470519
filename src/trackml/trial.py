"""One trial of a sweep, as a worker of Ray's does it, and what it tells."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trackml.cluster import ray, tune
from trackml.errors import Pruned, one_line
from trackml.history import HIGHER_IS_BETTER, EpochHook
from trackml.params import TrainingParams
from trackml.tracking import family
from trackml.tracking.run import Result

Main = Callable[[Any, EpochHook | None], Result]
"""A pipeline's `main`: called with its parameters, and what is to happen after each epoch."""

SCORE, EPOCH = "score", "epoch"  # keys of what trials report to Tune


@dataclass(frozen=True)
class Trial:
    """One run of a sweep: its name among its siblings, and its parameters by flag."""

    name: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of a trial: the summary of its history, or why it failed.

    `seconds` are those of its epochs, validation included. `pruned_after` is the epoch after which
    it was given up, of one that was.
    """

    name: str
    seconds: float = 0.0
    summary: Mapping[str, float] = field(default_factory=dict)
    failure: str | None = None
    pruned_after: int | None = None


def run_trial(
    config: Mapping[str, Any],
    *,
    main: Main,
    params: type[TrainingParams],
    place: family.Place,
    prune: bool,
) -> dict[str, Any]:
    """One trial, in a worker of Ray's. Errors are returned: there is nobody to catch them."""
    trial = Trial(**config["trial"])
    try:
        machine = str(ray.get_runtime_context().get_node_id())
        given = params.parse(trial.values)
        with family.placed(place.called(trial.name).at(machine)):
            result = main(given, _reporter(given.epochs) if prune else None)
    except Exception as error:  # noqa: BLE001  # of whatever kind: the other trials go on
        return {"failure": one_line(error)}
    rows = result.history.rows
    return {
        "summary": result.history.summary,
        "seconds": sum(row["epoch_seconds"] for row in rows),
        SCORE: max(map(score, rows)),
        EPOCH: len(rows),
    }


def _reporter(epochs: int) -> EpochHook:
    """Tells Tune after each epoch but the last how good the best was; there it may prune."""
    best = -math.inf
    seconds = 0.0

    def report(epoch: int, metrics: Mapping[str, float]) -> None:
        nonlocal best, seconds
        if epoch == 0 or epoch == epochs:
            return  # nothing is trained yet, or nothing is left to be saved
        best, seconds = max(best, score(metrics)), seconds + metrics["epoch_seconds"]
        try:
            tune.report({SCORE: best, EPOCH: epoch, "seconds": seconds})
        except SystemExit:
            raise Pruned(epoch) from None

    return report


def score(epoch: Mapping[str, float]) -> float:
    """How good a model is after an epoch, by its validation metric: more is better."""
    (metric,) = (name for name in HIGHER_IS_BETTER if f"val_{name}" in epoch)
    return epoch[f"val_{metric}"] * (1 if HIGHER_IS_BETTER[metric] else -1)
