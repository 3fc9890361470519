"""What to try next, given the scores of earlier trials: Optuna's TPE for Ray Tune."""

from collections.abc import Sequence
from typing import Any, Literal

import optuna

from trackml.sweeps.cluster import tune
from trackml.sweeps.plan import Plan
from trackml.sweeps.space import Point, name_of, rounded, sample, study_of

_RANDOM_FIRST = 5  # points before the first that follows from others
_MAX_REPEATS = 50  # suggestions in a row that are no new point, before one is drawn at random


class TPESearch(tune.search.Searcher):
    """The trials of a plan by TPE, no point twice, each as `{"trial": {"name": …, "values": …}}`.

    Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011; in Optuna's form.

    Args:
        metric: in the results of trials; higher is better.
        tried: points of an interrupted search that goes on, with their scores.
    """

    def __init__(self, plan: Plan, metric: str, tried: Sequence[tuple[Point, float]] = ()) -> None:
        super().__init__(metric=metric, mode="max")
        seed = (plan.seed + len(tried)) % 2**32  # a search that goes on must not begin again
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=_RANDOM_FIRST)
        self._plan, self._study = plan, study_of(plan.space, tried, sampler)
        self._tried = {name_of(point) for point, _ in tried}
        self._running: dict[str, optuna.Trial] = {}
        self._count = max(0, len(plan) - len(tried))

    def __len__(self) -> int:
        """How many trials the search begins with."""
        return self._count

    def suggest(self, trial_id: str) -> "dict[str, Any] | Literal['FINISHED']":  # type: ignore[override]
        """The next trial; Searcher.FINISHED when all points have been tried."""
        for _ in range(_MAX_REPEATS):
            point = self._ask(trial_id)
            if self._is_new(point):
                break
            self._study.tell(self._running.pop(trial_id), state=optuna.trial.TrialState.FAIL)
        else:
            drawn = sample(self._plan.space, len(self._tried) + _MAX_REPEATS, self._plan.seed)
            new = next(filter(self._is_new, drawn), None)
            if new is None:
                return "FINISHED"
            self._study.enqueue_trial(new)
            point = self._ask(trial_id)
        self._tried.add(name_of(point))
        return {"trial": vars(self._plan.trial(point))}

    def _ask(self, trial_id: str) -> Point:
        self._running[trial_id] = self._study.ask({**self._plan.space})
        params = self._running[trial_id].params
        return {name: rounded(params[name], one) for name, one in self._plan.space.items()}

    def _is_new(self, point: Point) -> bool:
        return name_of(point) not in self._tried and self._plan.allows(point)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell TPE the score; a trial without one, which failed, it ranks below all others."""
        score = None if error else (result or {}).get(str(self.metric))
        state = optuna.trial.TrialState.PRUNED if score is None else None
        self._study.tell(self._running.pop(trial_id), score, state)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: MLflow is a sweep's memory."""
