"""How Ray Tune executes trials: what it is told of them, and what it tells."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Thread
from typing import Any

from trackml.cluster import Share, ray, tune
from trackml.errors import TrackmlError, UsageError, one_line
from trackml.params import TrainingParams
from trackml.signals import deferred_signals
from trackml.space import Space
from trackml.trial import EPOCH, SCORE, Outcome, Trial

_MANY_EPOCHS = 1_000_000  # more than any trial has: it ends by itself
_STOP_SECONDS = 30.0  # for Tune to end its trials, which takes it one or two

TrialHook = Callable[[Outcome, int, int], None]
"""Called with a trial that has ended, and how many of how many have."""


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


@dataclass(frozen=True)
class Choice:
    """How Tune gets to know the trials: arguments of its `Tuner` and of its `TuneConfig`."""

    param_space: dict[str, Any]
    config: dict[str, Any]


def listed(trials: Sequence[Trial]) -> Choice:
    """Trials that are known beforehand."""
    configs = [{"name": trial.name, "values": dict(trial.values)} for trial in trials]
    return Choice({"trial": tune.grid_search(configs)}, {})


def suggested(
    search: Search,
    known: Sequence[tuple[Mapping[str, Any], float]],
    count: int,
    params: type[TrainingParams],
) -> Choice:
    """Trials that are found one after the other.

    Args:
        known: the values of those that have ended, and how good each was.
        count: how many are to be found.
        params: the pipeline's class of parameters, which may refuse some.
    """
    from trackml.suggestions import Suggestions  # which needs Optuna, as nothing else here does

    found = Suggestions(
        search.space,
        metric=SCORE,
        seed=search.seed,
        common=search.common,
        known=known,
        allowed=partial(_allows, params, search.common),
    )
    return Choice({}, {"search_alg": found, "num_samples": count})


def _allows(
    params: type[TrainingParams], common: Mapping[str, Any], point: Mapping[str, Any]
) -> bool:
    """Whether a pipeline takes these values together."""
    try:
        params.parse({**common, **point})
    except UsageError:
        return False
    return True


def execute(
    work: Callable[..., Any], choice: Choice, share: Share, watch: "Watch", *, prune: bool
) -> None:
    """Let Ray Tune do `work` for each trial. It writes into a folder that nobody needs later.

    Args:
        prune: give up trials that after 1, 3, 9, ... epochs are not among the best third so far.
    """
    with tempfile.TemporaryDirectory(prefix="trackml-", ignore_cleanup_errors=True) as folder:
        tuner = tune.Tuner(
            tune.with_resources(work, share.each),
            param_space=choice.param_space,
            tune_config=tune.TuneConfig(
                max_concurrent_trials=share.at_once,
                reuse_actors=True,  # else each trial would import the framework anew
                scheduler=_asha() if prune else None,
                **choice.config,
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0, callbacks=[watch]),
        )
        _in_thread(tuner.fit, watch.stop)


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


class Watch(tune.Callback):
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
