import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
)

from trackml.metrics import (
    ACCURACY,
    LOSS,
    MAE,
    MAP,
    Metric,
    label_metrics,
    metric_tags,
    ranking_metric,
    regression_metrics,
    score_classes,
    score_values,
    seconds_per_1000,
)


@st.composite
def answers(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rows, classes = draw(st.integers(1, 40)), draw(st.integers(2, 6))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    probabilities = random.dirichlet([1] * classes, size=rows).astype(np.float32)
    return probabilities, random.integers(classes, size=rows)


@given(answers())
def test_metrics_agree_with_scikit_learn(
    answer: tuple[NDArray[np.float32], NDArray[np.int64]],
) -> None:
    probabilities, labels = answer
    classes, predicted = range(probabilities.shape[1]), probabilities.argmax(axis=1)
    metrics = score_classes(probabilities, labels) | label_metrics(predicted, labels, len(classes))
    assert metrics["accuracy"] == accuracy_score(labels, predicted)
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    assert metrics["loss"] == pytest.approx(log_loss(labels, exact, labels=classes), rel=1e-4)
    f1 = f1_score(labels, predicted, labels=classes, average=None, zero_division=0)
    assert [metrics[f"f1_class_{c}"] for c in classes] == pytest.approx(f1)
    assert metrics["f1_macro"] == pytest.approx(f1.mean())


def test_a_mistake_with_probability_1_has_a_finite_loss() -> None:
    scores = score_classes(np.array([[1.0, 0.0]], np.float32), np.array([1]))
    assert scores == {"loss": pytest.approx(-math.log(1e-7)), "accuracy": 0.0}


def test_the_loss_of_nan_is_nan() -> None:
    scores = score_classes(np.full((2, 3), np.nan, np.float32), np.array([0, 1]))
    assert math.isnan(scores["loss"])
    scores = score_values(np.full((2, 1), np.nan, np.float32), np.array([0.0, 1.0]))
    assert math.isnan(scores["loss"])


@given(st.integers(2, 40), st.integers(0, 2**32), st.booleans())
def test_regression_metrics_agree_with_scikit_learn(rows: int, seed: int, column: bool) -> None:
    random = np.random.default_rng(seed)
    true, predicted = random.normal(size=(2, rows)).astype(np.float32)
    answers = predicted[:, np.newaxis] if column else predicted
    metrics = regression_metrics(answers, true)
    assert metrics["rmse"] == pytest.approx(root_mean_squared_error(true, predicted), rel=1e-5)
    assert metrics["mae"] == pytest.approx(mean_absolute_error(true, predicted), rel=1e-5)
    assert metrics["r2"] == pytest.approx(r2_score(true, predicted), rel=1e-5, abs=1e-6)
    assert metrics["mse"] == pytest.approx(metrics["rmse"] ** 2)
    assert score_values(answers, true) == {"loss": metrics["mse"], "mae": metrics["mae"]}


@pytest.mark.parametrize(("count", "predicted"), [(2_500, 1_000), (1_000, 1_000), (10, 10)])
def test_seconds_are_per_1000_inputs_however_many_there_are(
    count: int, predicted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    monkeypatch.setattr("trackml.metrics.perf_counter", lambda: 7 + 0.25 * len(calls))
    seconds = seconds_per_1000(lambda inputs: calls.append(len(inputs)), np.zeros((count, 2)))
    assert calls == [predicted]
    assert seconds == 0.25 * 1_000 / predicted


@pytest.mark.parametrize(("metric", "best"), [(ACCURACY, 0.9), (MAP, 0.9), (MAE, 0.1), (LOSS, 0.1)])
def test_each_metric_has_a_direction(metric: Metric, best: float) -> None:
    worst = 1 - best
    assert metric.better(best, than=worst)
    assert not metric.better(worst, than=best)
    assert not metric.better(best, than=best)
    assert not metric.better(math.nan, than=worst)
    assert metric.signed(best) > metric.signed(worst)


@pytest.mark.parametrize("name", ["", "top 3", "3rd", "a/b", "é", "m" * 101])
def test_a_name_that_mlflow_or_a_flag_would_refuse_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="the name of a metric begins with a letter"):
        Metric(name, higher_is_better=True)


def test_the_ranking_metric_is_the_one_that_a_run_has_logged() -> None:
    assert ranking_metric(["best_val_loss", "best_val_mae", "test_accuracy"]) == MAE
    tags = metric_tags(Metric("top3", higher_is_better=True))
    assert ranking_metric(["best_val_loss", "best_val_mae"], tags) == Metric("top3", True)
    for logged in ([], ["best_val_loss"], ["best_val_mae", "best_val_accuracy"]):
        with pytest.raises(ValueError, match="values to unpack"):
            ranking_metric(logged)
