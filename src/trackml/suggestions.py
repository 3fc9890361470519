"""What to try next, given how good what was tried has been: Optuna's TPE, for Ray Tune."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import optuna
from optuna.trial import TrialState
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from trackml.distributions import distributions
from trackml.space import Range, Space, name_of, sample

_RANDOM_FIRST = 5  # points before the first that follows from others
_TRIES = 50  # suggestions in a row that are known already, before one is drawn at random


class Suggestions(OptunaSearch):
    """Points of a space by TPE, none twice, as `{"trial": {"name": ..., "values": ...}}`.

    Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011; in Optuna's form,
    which also sees which values go well together.
    """

    def __init__(
        self,
        space: Space,
        *,
        metric: str,
        seed: int,
        common: Mapping[str, Any],
        known: Sequence[tuple[Mapping[str, Any], float]],
        allowed: Callable[[Mapping[str, Any]], bool] | None = None,
    ) -> None:
        """Begin a search, or go on with one.

        Args:
            metric: in the results of trials; more of it is better.
            common: parameters that all trials have.
            known: points that have been tried, with their metric.
            allowed: whether the values of a point go together; others are not suggested. Tune
                pickles it.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # it announces each study on stderr
        optuna.logging.disable_propagation()
        self._searched, self._common, self._allowed = space, dict(common), allowed
        self._drawn_from = seed
        sampler = optuna.samplers.TPESampler(
            seed=(seed + len(known)) % 2**32,  # one that goes on must not begin as it began before
            n_startup_trials=_RANDOM_FIRST,
        )
        super().__init__(distributions(space), metric=metric, mode="max", sampler=sampler)
        self._study: optuna.Study = self._ot_study  # type: ignore[assignment]
        self._tried = {name_of(values) for values, _ in known}
        for values, score in known:
            self.add_evaluated_point(dict(values), score)

    def suggest(self, trial_id: str) -> "dict[str, Any] | Literal['FINISHED'] | None":  # type: ignore[override]
        """The next point, Searcher.FINISHED when all have been tried."""
        point = None
        for _ in range(_TRIES):
            values = self._rounded(super().suggest(trial_id) or {})
            if self._is_new(values):
                point = values
                break
            self._study.tell(self._ot_trials.pop(trial_id), state=TrialState.FAIL)
        if point is None:
            new = sample(self._searched, len(self._tried) + _TRIES, self._drawn_from)
            point = next(filter(self._is_new, new), None)
            if point is None:
                return Searcher.FINISHED  # type: ignore[return-value]
            self._study.enqueue_trial(point)
            super().suggest(trial_id)
        name = name_of(point)
        self._tried.add(name)
        return {"trial": {"name": name, "values": self._common | point}}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: Optuna learns of a trial when it has ended."""

    def _is_new(self, point: Mapping[str, Any]) -> bool:
        allowed = self._allowed is None or self._allowed(point)
        return allowed and name_of(point) not in self._tried

    def _rounded(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: one.rounded(values[name]) if isinstance(one, Range) else values[name]
            for name, one in self._searched.items()
        }
