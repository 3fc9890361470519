"""Estimators: what a fit logs, what is kept of it, and what is refused before it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    AdaBoostClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from trackml.data import ImageData, TableData
from trackml.errors import TrackmlError
from trackml.history import NonFiniteLoss
from trackml.metrics import Metric
from trackml.models.sklearn import describe
from trackml.params import PipelineParams
from trackml.training.sklearn import fit, predictor

PARAMS = PipelineParams.parse({"seed": 3})


@pytest.fixture
def waves() -> TableData:
    """A regression of 300 rows that boosting learns, and then overfits."""
    random = np.random.default_rng(0)
    x = random.uniform(-3, 3, size=(300, 2))
    y = np.sin(x[:, 0]) + random.normal(0, 0.5, size=300)
    rows = (x[:200], y[:200]), (x[200:], y[200:])
    return TableData.from_arrays("waves", *rows, columns=["a", "b"], validation_split=0.5)


@pytest.mark.parametrize(
    "estimator",
    [
        lambda: GradientBoostingRegressor(n_estimators=60, learning_rate=0.5, subsample=0.7),
        lambda: HistGradientBoostingRegressor(max_iter=60, learning_rate=0.5, max_features=0.5),
        lambda: make_pipeline(StandardScaler(), GradientBoostingRegressor(n_estimators=60)),
    ],
)
def test_boosting_has_a_row_per_iteration_and_keeps_the_best(
    estimator: Callable[[], Any], waves: TableData
) -> None:
    model = estimator()
    history = fit(model, waves, PARAMS)
    kept = np.abs(
        predictor(model, waves)(waves.validation.features)[:, 0] - waves.validation.target
    )
    assert history.best_epoch < len(history.rows)
    assert history.step == "iteration"
    assert history.rows[-1]["train_mae"] < history.best["train_mae"]
    assert kept.mean() == pytest.approx(history.best["val_mae"], rel=1e-6)
    assert history.summary["best_val_mae"] == history.best["val_mae"]
    params = str(model.get_params())
    assert [row["val_mae"] for row in fit(model, waves, PARAMS).rows] == [
        row["val_mae"] for row in history.rows
    ]
    assert str(model.get_params()) == params


def test_early_stopping_watches_the_validation_data(waves: TableData) -> None:
    model = HistGradientBoostingRegressor(
        max_iter=500, learning_rate=0.5, early_stopping=True, n_iter_no_change=3
    )
    losses = [row["val_loss"] for row in fit(model, waves, PARAMS).rows]
    assert len(losses) < 100
    assert min(losses[:-3]) <= min(losses[-3:])


def test_any_other_fit_has_one_row_without_epochs(blobs: ImageData) -> None:
    top_two = Metric("top_two", higher_is_better=True, score=_top_two)
    history = fit(GaussianNB(), blobs, PARAMS, metrics=[top_two])
    assert not history.is_iterative
    scores = {f"{split}_{name}" for split in ("train", "val") for name in ("accuracy", "top_two")}
    assert set(history.rows[0]) == scores | {
        *("train_loss", "val_loss", "epoch_seconds", "samples_per_second")
    }
    assert set(history.summary) == {"best_val_loss", "best_val_accuracy", "best_val_top_two"}
    assert set(history.as_dict()) == {"epochs"}


def _top_two(labels: Any, probabilities: Any) -> float:
    return float(
        np.mean([y in p.argsort()[-2:] for y, p in zip(labels, probabilities, strict=True)])
    )


def test_an_own_metric_may_rank_iterations(blobs: ImageData) -> None:
    lowest = Metric("train_free", higher_is_better=False, score=lambda _y, p: float(p.max()))
    model = AdaBoostClassifier(n_estimators=5)
    history = fit(model, blobs, PARAMS, metrics=[lowest], rank_by=lowest)
    values = [row["val_train_free"] for row in history.rows]
    assert values[history.best_epoch - 1] == min(values)
    assert "best_val_accuracy" in history.summary


def test_the_seed_reaches_all_parts_that_have_none(blobs: ImageData) -> None:
    model = make_pipeline(StandardScaler(), AdaBoostClassifier(DecisionTreeClassifier()))
    fit(model.set_params(adaboostclassifier__random_state=8), blobs, PARAMS)
    params = model.get_params()
    assert params["adaboostclassifier__random_state"] == 8
    assert params["adaboostclassifier__estimator__random_state"] == 3


def _own(x: Any) -> Any:
    return x


def without_class(data: ImageData) -> ImageData:
    is_kept = data.train.labels != 1
    return replace(data, train=replace(
        data.train, images=data.train.images[is_kept], labels=data.train.labels[is_kept]
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("estimator", "change", "error", "message"),
    [
        (
            LinearSVC,
            None,
            ValueError,
            r"LinearSVC has no predict_proba.*CalibratedClassifierCV\(Lin",
        ),
        (LinearRegression, None, ValueError, "is a regressor, but the target of blobs are classes"),
        (
            lambda: make_pipeline(AdaBoostClassifier(), RandomForestClassifier(warm_start=True)),
            None,
            ValueError,
            "randomforestclassifier__warm_start=True, but a run fits from the start",
        ),
        (GaussianNB, without_class, TrackmlError, "blobs have none of middle"),
        (
            lambda: make_pipeline(FunctionTransformer(_own), GaussianNB()),
            None,
            ValueError,
            "other programs cannot import.*test_sklearn._own",
        ),
        (
            lambda: make_pipeline(FunctionTransformer(lambda x: x), GaussianNB()),
            None,
            ValueError,
            "other programs cannot import",
        ),
    ],
)
def test_what_could_not_be_registered_is_refused_before_the_fit(
    estimator: Callable[[], Any],
    change: Callable[[ImageData], ImageData] | None,
    error: type[Exception],
    message: str,
    blobs: ImageData,
) -> None:
    model = estimator()
    with pytest.raises(error, match=message):
        fit(model, change(blobs) if change else blobs, PARAMS)
    assert not hasattr(model, "n_features_in_")


def test_a_classifier_of_numbers_is_refused(waves: TableData) -> None:
    with pytest.raises(ValueError, match="GaussianNB is a classifier, but the target of waves"):
        fit(GaussianNB(), waves, PARAMS)


def test_a_loss_that_is_not_finite_ends_the_fit_but_an_own_metric_may_be_nan(
    waves: TableData,
) -> None:
    broken = Metric("broken", higher_is_better=True, score=lambda *_: np.nan)
    for model in (LinearRegression(), GradientBoostingRegressor(n_estimators=3)):
        history = fit(model, waves, PARAMS, metrics=[broken], rank_by=broken)
        assert np.isnan(history.best["val_broken"])
        assert history.is_iterative == isinstance(model, GradientBoostingRegressor)
    target = np.full_like(waves.validation.target, np.inf)
    infinite = replace(waves, validation=replace(waves.validation, target=target))
    with pytest.raises(NonFiniteLoss, match="val_loss is inf after the fit"):
        fit(LinearRegression(), infinite, PARAMS)


def test_class_weights_reach_the_last_step_but_no_score(blobs: ImageData) -> None:
    model = make_pipeline(StandardScaler(), GaussianNB())
    fit(model, blobs, PARAMS, class_weights={"top": 2, "middle": 0.5})
    n = np.bincount(blobs.train.labels) * (2, 0.5, 1)
    np.testing.assert_allclose(model[-1].class_prior_, n / n.sum(), rtol=1e-5)
    with pytest.raises(ValueError, match="the fit of KNeighborsClassifier takes no sample_weight"):
        fit(KNeighborsClassifier(), blobs, PARAMS, class_weights="balanced")


@pytest.mark.parametrize("model", [GaussianNB(), AdaBoostClassifier(n_estimators=5)])
def test_callbacks_get_the_fitted_estimator_once(model: Any, blobs: ImageData) -> None:
    calls: list[Any] = []
    history = fit(model, blobs, PARAMS, callbacks=[lambda *call: calls.append(call)])
    assert calls == [(history.best_epoch, history.best, model)]


def test_a_description_counts_what_is_learned(blobs: ImageData) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    fit(model, blobs, PARAMS)
    count, text = describe(model)
    assert count == 3 * 81 + 3 * 82  # mean, variance and scale; weights and biases
    assert "logisticregression" in text


def test_a_description_counts_arrays_of_equal_first_axes() -> None:
    x, y = np.random.default_rng(0).normal(size=(20, 4)), np.arange(20) % 2
    model = MLPClassifier((4,), tol=9, n_iter_no_change=1).fit(x, y)
    assert describe(model)[0] == 4 * 4 + 4 + 4 * 1 + 1
