"""Weights of trained models: never worse on validation data than one of them, or than the mean."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from trackml.models.ensemble import mean
from trackml.training.ensemble import MIN_WEIGHT, choose_weights
from trackml.training.objectives import CLASSIFICATION, REGRESSION, Objective

OBJECTIVES = [REGRESSION, CLASSIFICATION]


def answers_of(objective: Objective, models: int, rows: int, seed: int) -> tuple[np.ndarray, ...]:
    """Random answers (models, rows, outputs), the first of them better, and targets (rows,)."""
    random = np.random.default_rng(seed)
    if objective == REGRESSION:
        targets = random.normal(size=rows) * 10.0 ** random.integers(-3, 6)
        noise = random.normal(size=(models, rows)) * random.uniform(0, 2, size=(models, 1))
        values = targets * random.uniform(0.5, 1.5, size=(models, 1)) + noise * targets.std()
        return values[:, :, None].astype(np.float32), targets.astype(np.float32)
    labels = random.integers(3, size=rows)
    scores = random.normal(size=(models, rows, 3)) * random.uniform(0, 40, size=(models, 1, 1))
    scores[0, np.arange(rows), labels] += random.uniform(0, 40)
    odds = np.exp(scores - scores.max(axis=2, keepdims=True))
    return (odds / odds.sum(axis=2, keepdims=True)).astype(np.float32), labels


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda each: each.name)
@settings(max_examples=60)
@given(st.integers(2, 5), st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_chosen_weights_are_on_the_simplex_and_no_model_alone_is_better(
    objective: Objective, models: int, rows: int, seed: int
) -> None:
    answers, targets = answers_of(objective, models, rows, seed)

    def loss(weights: list[float]) -> float:
        return objective.score(mean(answers, weights), targets)["loss"]

    weights = choose_weights(answers, targets, objective)
    assert weights.sum() == pytest.approx(1)
    assert ((weights == 0) | (weights >= MIN_WEIGHT)).all()
    chosen = loss(weights.tolist())
    assert chosen <= min(loss(alone.tolist()) for alone in np.eye(models))
    assert chosen <= loss([1 / models] * models)
    random = np.random.default_rng(seed)
    others = [loss(each.tolist()) for each in random.dirichlet(np.ones(models), size=50)]
    assert chosen <= min(others) * 1.01 + 1e-9


def test_a_model_that_only_harms_is_left_out() -> None:
    targets = np.arange(20, dtype=np.float32)
    errors = np.random.default_rng(0).normal(size=(2, 20)) * 0.1
    answers = np.stack([targets + errors[0], targets + errors[1], targets + 100])[:, :, None]
    weights = choose_weights(answers, targets, REGRESSION)
    assert weights[2] == 0
    assert weights[:2].min() > 0.1
