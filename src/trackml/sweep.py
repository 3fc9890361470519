"""Many runs of one pipeline, as children of one run, executed by Ray Tune: here or on a cluster."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Thread
from typing import Any, Literal

import pandas as pd

from trackml.cluster import Share, ray, tune
from trackml.errors import LONGEST_REASON, TrackmlError, one_line
from trackml.history import EpochHook
from trackml.params import TrainingParams
from trackml.signals import deferred_signals
from trackml.tracking import family
from trackml.tracking.registry import Registration
from trackml.tracking.run import Result, Run

Main = Callable[[Any, EpochHook | None], Result]


@dataclass(frozen=True)
class Trial:
    """One run of a sweep: its name among its siblings, and its parameters by flag."""

    name: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of a trial: the summary of its history, or why it failed.

    `seconds` are those of its epochs, validation included.
    """

    name: str
    seconds: float = 0.0
    summary: Mapping[str, float] = field(default_factory=dict)
    failure: str | None = None


TrialHook = Callable[[Outcome, int, int], None]
"""Called with a trial that has ended, and how many of how many have."""


@dataclass(frozen=True)
class SuiteResult:
    """What a suite gives back.

    Attributes:
        table: a row per combination of `factors`, best first.
        failed: the trials that did not finish.
        registrations: of the models that were chosen, the best last.
    """

    run_id: str
    name: str
    factors: Sequence[str]
    table: pd.DataFrame
    failed: Sequence[Outcome]
    registrations: Sequence[Registration]


def run_trials(
    main: Main,
    params: type[TrainingParams],
    trials: Sequence[Trial],
    parent: Run,
    share: Share,
    hook: TrialHook | None = None,
) -> list[Outcome]:
    """Run a pipeline once for each trial; return those that failed.

    Trials that have a finished run below `parent` are not run again. One that fails does not stop
    the others. When this returns, or raises, no child of `parent` is left RUNNING.

    Args:
        main: of the pipeline, importable by its name. params: its class of parameters.
        hook: called after each trial.

    Raises:
        TrackmlError: no trial has finished.
    """
    client = parent.client
    run = client.get_run(parent.run_id)
    family.discard_unfinished(client, run)
    done = {child.data.tags[family.NAME_TAG] for child in family.children(client, run)}
    waiting = [trial for trial in trials if trial.name not in done]
    watch = _Watch(len(waiting), hook)
    if waiting:
        places = {trial.name: family.place_below(run, trial.name) for trial in waiting}
        ended: Literal["KILLED", "FAILED"] = "KILLED"
        reason = "stopped with its sweep"
        try:
            _execute(waiting, share, watch, main=main, params=params, places=places)
            ended, reason = "FAILED", "its process died"
        finally:
            with deferred_signals():
                if ended == "KILLED":
                    ray.shutdown()  # first: what still runs could change its status again
                family.finish_orphans(client, run, ended, reason)
    known = {outcome.name for outcome in watch.outcomes}
    skipped = [Outcome(t.name, failure="it was not run") for t in waiting if t.name not in known]
    failed = [outcome for outcome in watch.outcomes if outcome.failure is not None] + skipped
    begun = {child.data.tags[family.NAME_TAG] for child in family.children(client, run)}
    for outcome in failed:
        if outcome.name not in begun:
            place = family.place_below(run, outcome.name)
            family.note_failure(client, place, str(outcome.failure))
    if failed:
        first = f"{failed[0].name}: {failed[0].failure}"
        words = f"{len(failed)} of {len(trials)} trials failed; the first, {first}"
        if len(failed) == len(trials):
            raise TrackmlError(words)
        client.set_tag(parent.run_id, family.FAILURE_TAG, words[:LONGEST_REASON])
    return failed


def _execute(trials: Sequence[Trial], share: Share, watch: "_Watch", **fixed: Any) -> None:
    """Let Ray Tune run `_run_trial` for each trial, with what is the same for all.

    It writes into a folder that nobody needs afterwards.
    """
    configs = [{"name": trial.name, "values": dict(trial.values)} for trial in trials]
    with tempfile.TemporaryDirectory(prefix="trackml-", ignore_cleanup_errors=True) as folder:
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(_run_trial, **fixed), share.each),
            param_space={"trial": tune.grid_search(configs)},
            tune_config=tune.TuneConfig(
                max_concurrent_trials=share.at_once,
                reuse_actors=True,  # else each trial would import the framework anew
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0, callbacks=[watch]),
        )
        _in_thread(tuner.fit)


def _in_thread(work: Callable[[], object]) -> None:
    """Do `work` so that a request to stop ends the wait for it: Ray's own code would garble it."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # raised again below
            errors.append(error)

    thread = Thread(target=guarded, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
    if errors:
        raise errors[0]


def _run_trial(
    config: Mapping[str, Any],
    *,
    main: Main,
    params: type[TrainingParams],
    places: Mapping[str, family.Place],
) -> dict[str, Any]:
    """One trial, in a worker of Ray's. Errors are returned: there is nobody to catch them."""
    trial = Trial(**config["trial"])
    try:
        machine = str(ray.get_runtime_context().get_node_id())
        with family.placed(places[trial.name].at(machine)):
            result = main(params.parse(trial.values), None)
    except Exception as error:  # noqa: BLE001  # of whatever kind: the other trials go on
        return {"failure": one_line(error)}
    seconds = sum(row["epoch_seconds"] for row in result.history.rows)
    return {"summary": result.history.summary, "seconds": seconds}


class _Watch(tune.Callback):
    """Collects outcomes as Tune learns of them, and tells the hook."""

    def __init__(self, total: int, hook: TrialHook | None) -> None:
        self.outcomes: list[Outcome] = []
        self._total, self._hook = total, hook

    def on_trial_complete(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
        told = trial.last_result
        known = {key: told[key] for key in ("seconds", "summary", "failure") if key in told}
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
