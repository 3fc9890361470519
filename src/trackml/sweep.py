"""Many runs of one pipeline, as children of one run, executed by Ray Tune: here or on a cluster."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
from mlflow.entities import Run as MlflowRun
from mlflow.tracking import MlflowClient

from trackml.cluster import Share, ray, tune
from trackml.errors import LONGEST_REASON, TrackmlError, UsageError, one_line
from trackml.history import HIGHER_IS_BETTER
from trackml.params import TrainingParams
from trackml.signals import deferred_signals
from trackml.space import Space, values_of
from trackml.tracking import family
from trackml.tracking.registry import Registration
from trackml.tracking.run import Run, Tracked
from trackml.trial import EPOCH, SCORE, Main, Outcome, Trial, run_trial, score

if TYPE_CHECKING:
    from trackml.evaluation.sweep import Findings

_MANY_EPOCHS = 1_000_000  # more than any trial has: it ends by itself
_STOP_SECONDS = 30.0  # for Tune to end its trials, which takes it one or two


@dataclass(frozen=True)
class Search:
    """Trials that are found one after the other, by TPE.

    Attributes:
        count: how many, all different.
        common: parameters by flag that all of them have.
    """

    space: Space
    count: int
    seed: int
    common: Mapping[str, Any]


TrialHook = Callable[[Outcome, int, int], None]
"""Called with a trial that has ended, and how many of how many have."""


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
        choice = _suggested(trials, known, count, params)
    else:
        waiting = [trial for trial in trials if trial.name not in done]
        total, count = len(trials), len(waiting)
        choice = _listed(waiting)
    watch = _Watch(count, hook)
    if count:
        place = family.place_below(run, scores_test=score_test)
        ended: Literal["KILLED", "FAILED"] = "KILLED"
        reason = "stopped with its sweep"
        try:
            work = tune.with_parameters(
                run_trial, main=main, params=params, place=place, prune=prune
            )
            _execute(work, choice, share, watch, _asha() if prune else None)
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


@dataclass(frozen=True)
class _Choice:
    """How Tune gets to know the trials: arguments of its `Tuner` and of its `TuneConfig`."""

    param_space: dict[str, Any]
    config: dict[str, Any]


def _listed(trials: Sequence[Trial]) -> _Choice:
    configs = [{"name": trial.name, "values": dict(trial.values)} for trial in trials]
    return _Choice({"trial": tune.grid_search(configs)}, {})


def _suggested(
    search: Search,
    known: Sequence[tuple[Mapping[str, Any], float]],
    count: int,
    params: type[TrainingParams],
) -> _Choice:
    from trackml.suggestions import Suggestions  # which needs Optuna, as nothing else here does

    found = Suggestions(
        search.space,
        metric=SCORE,
        seed=search.seed,
        common=search.common,
        known=known,
        allowed=partial(_allows, params, search.common),
    )
    return _Choice({}, {"search_alg": found, "num_samples": count})


def _as_known(
    client: MlflowClient, child: MlflowRun, space: Space
) -> tuple[Mapping[str, Any], float]:
    """The values of a trial that has ended, and how good it was."""
    (metric,) = (name for name in HIGHER_IS_BETTER if f"val_{name}" in child.data.metrics)
    curve = family.curve(client, child, f"val_{metric}")
    best = max(score({f"val_{metric}": value}) for value in curve)
    return values_of(child.data.tags[family.NAME_TAG], space), best


def _asha() -> tune.schedulers.ASHAScheduler:
    """Li et al., A System for Massively Parallel Hyperparameter Tuning, MLSys 2020."""
    return tune.schedulers.ASHAScheduler(
        time_attr=EPOCH,
        metric=SCORE,
        mode="max",
        grace_period=1,
        reduction_factor=3,
        max_t=_MANY_EPOCHS,
    )


def _execute(
    work: Callable[..., Any], choice: _Choice, share: Share, watch: "_Watch", scheduler: Any
) -> None:
    """Let Ray Tune do `work` for each trial. It writes into a folder that nobody needs later."""
    with tempfile.TemporaryDirectory(prefix="trackml-", ignore_cleanup_errors=True) as folder:
        tuner = tune.Tuner(
            tune.with_resources(work, share.each),
            param_space=choice.param_space,
            tune_config=tune.TuneConfig(
                max_concurrent_trials=share.at_once,
                reuse_actors=True,  # else each trial would import the framework anew
                scheduler=scheduler,
                **choice.config,
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0, callbacks=[watch]),
        )
        _in_thread(tuner.fit, watch.stop)


def _in_thread(work: Callable[[], object], stop: Callable[[], None]) -> None:
    """Do `work` so that a request to stop does not meet Ray's own code, which would garble it.

    It calls `stop` instead, and waits: a thread that used Ray after its end would end the process.
    """
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # raised again below
            errors.append(error)

    thread = Thread(target=guarded, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.2)
    except BaseException:
        with deferred_signals():
            stop()
            thread.join(_STOP_SECONDS)
        raise
    if errors:
        raise errors[0]


def _allows(
    params: type[TrainingParams], common: Mapping[str, Any], point: Mapping[str, Any]
) -> bool:
    """Whether a pipeline takes these values together."""
    try:
        params.parse({**common, **point})
    except UsageError:
        return False
    return True


def _mark_pruned(client: MlflowClient, parent: MlflowRun, outcomes: Sequence[Outcome]) -> None:
    """Mark the runs of pruned trials that did not get to it themselves."""
    epochs = {outcome.name: outcome.pruned_after for outcome in outcomes if outcome.pruned_after}
    for child in family.children(client, parent):
        after = epochs.get(child.data.tags[family.NAME_TAG])
        if after and child.info.status == "RUNNING":
            family.mark_pruned(client, child.info.run_id, after)


class _Watch(tune.Callback):
    """Collects outcomes as Tune learns of them, and tells the hook. May be asked to stop it all."""

    def __init__(self, total: int, hook: TrialHook | None) -> None:
        self.outcomes: list[Outcome] = []
        self._total, self._hook = total, hook
        self._stops = False

    def stop(self) -> None:
        """Let Tune end at its next step, by an error."""
        self._stops = True

    def on_step_begin(self, *, trials: Sequence[Any], **_: Any) -> None:  # type: ignore[override]
        if self._stops:
            for trial in trials:
                if actor := trial.temporary_state.ray_actor:
                    ray.kill(actor)  # Tune itself would give each seconds to end
            raise TrackmlError("stopped")

    def on_trial_complete(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
        told = trial.last_result
        known = {key: told[key] for key in ("seconds", "summary", "failure") if key in told}
        if not known.keys() & {"summary", "failure"}:
            known |= {"pruned_after": told[EPOCH]}
        self._note(Outcome(trial.config["trial"]["name"], **known))

    def on_trial_error(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
        error = trial.get_error()
        died = error is None or isinstance(error, ray.exceptions.RayActorError)
        failure = "its process died" if died else one_line(error)
        self._note(Outcome(trial.config["trial"]["name"], failure=failure))

    def _note(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if self._hook:
            self._hook(outcome, len(self.outcomes), self._total)
