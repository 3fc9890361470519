"""How Ray Tune executes trials, and what it tells of them."""

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from threading import Thread
from typing import Any

from trackml.errors import TrackmlError, one_line
from trackml.process.signals import deferred_signals
from trackml.sweeps.cluster import Allotment, ray, tune
from trackml.sweeps.plan import Trial
from trackml.sweeps.tpe import TPESearch
from trackml.sweeps.worker import EPOCH, SCORE, Outcome

_MAX_EPOCHS = 1_000_000  # for Tune: trials end by themselves
_STOP_SECONDS = 30.0  # for Tune to end its trials, which takes it one or two

TrialCallback = Callable[[Outcome, int, int], None]
"""Called with a trial that has ended, and how many of how many have."""


def execute(
    work: Callable[..., Any],
    trials: Sequence[Trial] | TPESearch,
    allotment: Allotment,
    watch: "Watch",
    *,
    prune: bool,
) -> None:
    """Let Ray Tune call `work` for each trial.

    Args:
        prune: stop trials that after 1, 3, 9, ... epochs are not among the best third so far.
    """
    space: dict[str, Any] = {}
    options: dict[str, Any] = {}
    if isinstance(trials, TPESearch):
        options = {"search_alg": trials, "num_samples": len(trials)}
    else:
        space = {"trial": tune.grid_search([vars(trial) for trial in trials])}
    if prune:  # Li et al., A System for Massively Parallel Hyperparameter Tuning, MLSys 2020
        options["scheduler"] = tune.schedulers.ASHAScheduler(
            EPOCH, SCORE, "max", max_t=_MAX_EPOCHS, grace_period=1, reduction_factor=3
        )
    # Tune writes files that nobody needs later.
    with tempfile.TemporaryDirectory(prefix="trackml-", ignore_cleanup_errors=True) as folder:
        tuner = tune.Tuner(
            tune.with_resources(work, allotment.per_trial),
            param_space=space,
            tune_config=tune.TuneConfig(
                max_concurrent_trials=allotment.concurrency,
                reuse_actors=True,  # else each trial would import the framework anew
                **options,
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0, callbacks=[watch]),
        )
        _in_thread(tuner.fit, watch.stop)


def _in_thread(work: Callable[[], object], stop: Callable[[], None]) -> None:
    """Call `work` where no request to stop interrupts Ray's own code, which would garble it.

    On such a request `stop` is called, and `work` is waited for: a thread that used Ray after its
    end would end the process.
    """
    done: Future[object] = Future()

    def guarded() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001  # the main thread raises it
            done.set_exception(error)

    Thread(target=guarded, daemon=True).start()
    try:
        done.result()
    except BaseException:
        with deferred_signals():
            stop()
            wait([done], _STOP_SECONDS)
        raise


class Watch(tune.Callback):
    """Collects outcomes as Tune reports them, passes them on, and stops Tune on request."""

    def __init__(self, total: int, callbacks: Sequence[TrialCallback]) -> None:
        self.outcomes: list[Outcome] = []
        self._total, self._callbacks = total, callbacks
        self._stops = False

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune saves its callbacks for a restart, and a progress bar cannot be pickled."""
        return {}

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
        result = trial.last_result
        ended = {key: result[key] for key in ("seconds", "summary", "failure") if key in result}
        if not ended.keys() & {"summary", "failure"}:
            ended["pruned_after"] = result[EPOCH]
        self._note(Outcome(trial.config["trial"]["name"], **ended))

    def on_trial_error(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
        error = trial.get_error()
        died = error is None or isinstance(error, ray.exceptions.RayActorError)
        failure = "its process died" if died else one_line(error)
        self._note(Outcome(trial.config["trial"]["name"], failure=failure))

    def _note(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        for callback in self._callbacks:
            callback(outcome, len(self.outcomes), self._total)
