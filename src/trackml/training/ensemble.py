"""The weights with which the answers of several models are averaged, chosen on validation data.

Nonnegative weights with the sum 1 are stacking as L. Breiman has it (Stacked Regressions, Machine
Learning 24, 1996); for probabilities, a linear opinion pool. Both losses are convex in the weights,
so there is one lowest loss. It is found by sequential least squares (D. Kraft, A software package
for sequential quadratic programming, DFVLR-FB 88-28, 1988), which SciPy has as SLSQP.
"""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from trackml.backends import standard_settings
from trackml.data import ImageData, TableData
from trackml.data.tables import raw_rows
from trackml.history import History
from trackml.metrics import EPSILON, Metric
from trackml.models.ensemble import Ensemble, Member, mean
from trackml.progress import Progress
from trackml.training.objectives import REGRESSION, Objective, objective_of

Array = NDArray[Any]
Weights = NDArray[np.float64]
Data = ImageData | TableData
Rule = Literal["validation", "equal"]
LossOfWeights = Callable[[Weights], tuple[float, Weights]]

MIN_WEIGHT = 0.001  # a model with less is left out: it would only make all answers slower


class FittingRun(Protocol):
    """Receives the row of a fit: `trackml.tracking.run.Run`."""

    @property
    def progress(self) -> Progress:
        """Shows what is done."""

    def log_fit(self, history: History) -> None:
        """Log it."""


@standard_settings()
def fit(
    members: Sequence[Member],
    data: Data,
    rule: Rule,
    rank_by: Metric | None = None,
    *,
    run: FittingRun | None = None,
) -> tuple[Ensemble, History]:
    """Weigh models that are trained already, by their answers to the validation data.

    The history has one row, without epochs: the scores of the mean. Nothing is trained, so there
    are no scores of training.

    Args:
        rule: "validation": the weights of `choose_weights`; "equal": the same for all.
        rank_by: the metric that ranks the ensemble among models; one that is not computed here, or
            None: the metric of the data's objective.
    """
    inputs, targets = data.validation.arrays
    objective = objective_of(targets, len(data.classes))
    progress = run.progress if run else Progress()
    progress.stage("predicting the validation data with each member")
    started = perf_counter()
    answers = np.stack([member.predict(_request(data, inputs)) for member in members])
    weights = np.full(len(members), 1 / len(members))
    if rule == "validation":
        weights = choose_weights(answers, targets, objective)
    scores = objective.score(mean(answers, weights.tolist()), targets)
    row = {f"val_{name}": value for name, value in scores.items()}
    row["epoch_seconds"] = perf_counter() - started
    metric = rank_by if rank_by and rank_by.name in scores else objective.metric
    history = History(metric, "float32", rows=(row,), is_iterative=False)
    alone = tuple(objective.score(each, targets) for each in answers)
    if run:
        run.log_fit(history)
    return Ensemble(tuple(members), tuple(weights.tolist()), alone), history


def predictor(ensemble: Ensemble, data: Data) -> Callable[[Array], NDArray[np.float32]]:
    """A function of inputs, as `data` has them, that returns answers, float32 (N, outputs)."""
    return lambda inputs: ensemble.predict(_request(data, inputs))


def _request(data: Data, inputs: Array) -> Any:
    """Rows as users have them: a copy, as PyTorch warns of arrays that are read-only."""
    return raw_rows(data, inputs.copy())


def choose_weights(answers: Array, targets: Array, objective: Objective) -> Weights:
    """The weights (M,) for which the mean of M models' answers has the lowest loss.

    They are nonnegative, and have the sum 1; those below MIN_WEIGHT become 0. The loss is that of
    the objective: the mean squared error, or the cross-entropy. It is never higher than that of a
    single model, or of equal weights.

    >>> answers = np.array([[[1.0], [2.0]], [[3.0], [8.0]]])
    >>> choose_weights(answers, np.array([2.0, 5.0]), objective_of(np.ones(1), 0)).round(6).tolist()
    [0.5, 0.5]

    Args:
        answers: of M models, (M, N, outputs).
        targets: (N,), as the data has them.
    """
    count = len(answers)
    loss = _squared_error if objective == REGRESSION else _cross_entropy
    used = np.arange(count)
    while True:
        solved = np.zeros(count)
        solved[used] = _lowest(loss(answers[used], targets), len(used))
        is_large = solved[used] >= MIN_WEIGHT
        if is_large.all():
            break
        used = used[is_large]
    # Where two are as good but for rounding, a single model, of exact weight 1, must not lose.
    candidates = [solved, np.full(count, 1 / count), *np.eye(count)]
    losses = [objective.score(mean(answers, each.tolist()), targets)["loss"] for each in candidates]
    chosen: Weights = candidates[int(np.argmin(losses))]
    return chosen


def _squared_error(answers: Array, targets: Array) -> LossOfWeights:
    """With weights of sum 1 the error of a mean is the mean of the errors: a quadratic form."""
    errors = answers[:, :, 0].astype(np.float64) - targets
    products = errors @ errors.T / len(targets)
    return lambda weights: (float(weights @ products @ weights), 2 * products @ weights)


def _cross_entropy(answers: Array, labels: Array) -> LossOfWeights:
    rows = np.arange(len(labels))
    true_class = np.maximum(answers[:, rows, labels].astype(np.float64), EPSILON)  # (M, N)

    def loss(weights: Weights) -> tuple[float, Weights]:
        mixed = weights @ true_class
        return float(-np.log(mixed).mean()), -(true_class / mixed).mean(axis=1)

    return loss


def _lowest(loss: LossOfWeights, count: int) -> Weights:
    """The point of the simplex with the lowest loss."""
    start = np.full(count, 1 / count)
    scale = loss(start)[0] or 1.0  # the tolerance is absolute

    def scaled(weights: Weights) -> tuple[float, Weights]:
        value, gradient = loss(weights)
        return value / scale, gradient / scale

    found = minimize(
        scaled,
        start,
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * count,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-12, "maxiter": 200},
    ).x
    inside = np.clip(found, 0, 1)
    weights: Weights = inside / inside.sum()
    return weights
