"""Many runs of one pipeline, as children of one run: here or on a cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
from mlflow.entities import Run as MlflowRun
from mlflow.tracking import MlflowClient

from trackml.cluster import Share, ray, tune
from trackml.errors import LONGEST_REASON, TrackmlError
from trackml.history import HIGHER_IS_BETTER
from trackml.params import TrainingParams
from trackml.signals import deferred_signals
from trackml.space import Space, values_of
from trackml.tracking import family
from trackml.tracking.registry import Registration
from trackml.tracking.run import Run, Tracked
from trackml.trial import Main, Outcome, Trial, run_trial, score
from trackml.tuning import Search, TrialHook, Watch, execute, listed, suggested

if TYPE_CHECKING:
    from trackml.evaluation.sweep import Findings


@dataclass(frozen=True)
class SuiteResult(Tracked):
    """What a suite gives back.

    Attributes:
        table: a row per combination of `factors`, best first.
        failed: the trials that did not finish.
        registrations: of the models that were chosen, the best last.
    """

    name: str
    factors: Sequence[str]
    table: pd.DataFrame
    failed: Sequence[Outcome]
    registrations: Sequence[Registration]


@dataclass(frozen=True)
class SweepResult(Tracked):
    """What a sweep gives back: what it found, how to run the best again, what became of its model.

    `registration` is None where the parameters say that it is not to be registered.
    """

    findings: "Findings"
    command: str
    registration: Registration | None


def run_trials(
    main: Main,
    params: type[TrainingParams],
    trials: Sequence[Trial] | Search,
    parent: Run,
    share: Share,
    hook: TrialHook | None = None,
    *,
    prune: bool = False,
    score_test: bool = True,
) -> list[Outcome]:
    """Run a pipeline once for each trial; return those that failed.

    Trials that have a finished or pruned run below `parent` are not run again. One that fails does
    not stop the others. When this returns, or raises, no child of `parent` is left RUNNING.

    Args:
        main: of the pipeline, importable by its name. params: its class of parameters.
        hook: called after each trial.
        prune: give up those that after 1, 3, 9, ... epochs are not among the best third so far.
        score_test: whether they see the test data.

    Raises:
        TrackmlError: no trial has finished.
    """
    client = parent.client
    run = client.get_run(parent.run_id)
    before = [
        child for child in family.children(client, run) if family.is_candidate(child) != score_test
    ]
    done = {child.data.tags[family.NAME_TAG] for child in before}
    waiting: Sequence[Trial] = []  # those that are known beforehand
    if isinstance(trials, Search):
        total, count = trials.count, max(0, trials.count - len(done))
        known = [_as_known(client, child, trials.space) for child in before]
        choice = suggested(trials, known, count, params)
    else:
        waiting = [trial for trial in trials if trial.name not in done]
        total, count = len(trials), len(waiting)
        choice = listed(waiting)
    watch = Watch(count, hook)
    if count:
        place = family.place_below(run, scores_test=score_test)
        ended: Literal["KILLED", "FAILED"] = "KILLED"
        reason = "stopped with its sweep"
        try:
            work = tune.with_parameters(
                run_trial, main=main, params=params, place=place, prune=prune
            )
            execute(work, choice, share, watch, prune=prune)
            ended, reason = "FAILED", "its process died"
        finally:
            with deferred_signals():
                if ended == "KILLED":
                    ray.shutdown()  # first: what still runs could change its status again
                _mark_pruned(client, run, watch.outcomes)
                family.finish_orphans(client, run, ended, reason)
    ran = {outcome.name for outcome in watch.outcomes}
    skipped = [Outcome(t.name, failure="it was not run") for t in waiting if t.name not in ran]
    failed = [outcome for outcome in watch.outcomes if outcome.failure is not None] + skipped
    begun = {child.data.tags[family.NAME_TAG] for child in family.children(client, run)}
    for outcome in failed:
        if outcome.name not in begun:
            place = family.place_below(run, outcome.name, scores_test=score_test)
            family.note_failure(client, place, str(outcome.failure))
    if failed:
        first = f"{failed[0].name}: {failed[0].failure}"
        words = f"{len(failed)} of {total} trials failed; the first, {first}"
        before_them = run.data.tags.get(family.FAILURE_TAG)  # of other trials below this run
        if len(failed) == total:
            raise TrackmlError(words)
        words = "; ".join(filter(None, [before_them, words]))
        parent.log_tags({family.FAILURE_TAG: words[:LONGEST_REASON]})
    return failed


def _as_known(
    client: MlflowClient, child: MlflowRun, space: Space
) -> tuple[Mapping[str, Any], float]:
    """The values of a trial that has ended, and how good it was."""
    (metric,) = (name for name in HIGHER_IS_BETTER if f"val_{name}" in child.data.metrics)
    curve = family.curve(client, child, f"val_{metric}")
    best = max(score({f"val_{metric}": value}) for value in curve)
    return values_of(child.data.tags[family.NAME_TAG], space), best


def _mark_pruned(client: MlflowClient, parent: MlflowRun, outcomes: Sequence[Outcome]) -> None:
    """Mark the runs of pruned trials that did not get to it themselves."""
    epochs = {outcome.name: outcome.pruned_after for outcome in outcomes if outcome.pruned_after}
    for child in family.children(client, parent):
        after = epochs.get(child.data.tags[family.NAME_TAG])
        if after and child.info.status == "RUNNING":
            family.mark_pruned(client, child.info.run_id, after)
