"""XGBoost, LightGBM and CatBoost, where they are installed: rows, the best iteration, the files."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trackml.data import ImageData, TableData
from trackml.metrics import Metric, score_classes
from trackml.models import estimator as estimators
from trackml.models.sklearn import describe
from trackml.params import PipelineParams
from trackml.training.sklearn import fit, predictor

FAST = {"learning_rate": 0.5}
LIBRARIES: dict[str, tuple[str, dict[str, Any], str]] = {
    "xgboost": ("XGB{}", {"n_estimators": 40, "n_jobs": 1}, ".ubj"),
    "lightgbm": ("LGBM{}", {"n_estimators": 40, "n_jobs": 1, "verbose": -1}, ".txt"),
    "catboost": ("CatBoost{}", {"iterations": 40, "thread_count": 1, "depth": 4}, ".cbm"),
}


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param)
    return str(request.param)


@pytest.fixture
def waves() -> TableData:
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 2))
    y = np.sin(x[:, 0]) + random.normal(0, 0.7, size=300)
    rows = (x[:200], y[:200]), (x[200:], y[200:])
    return TableData.from_arrays("waves", *rows, columns=["a", "b"], validation_split=0.5)


def made(library: str, kind: str) -> Any:
    name, params, _ = LIBRARIES[library]
    return getattr(import_module(library), name.format(kind))(**params, **FAST)


@pytest.mark.parametrize("kind", ["Classifier", "Regressor"])
def test_boosting_of_other_libraries_keeps_its_best_iteration_in_its_own_format(
    library: str,
    kind: str,
    blobs: ImageData,
    waves: TableData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    data = blobs if kind == "Classifier" else waves
    model = made(library, kind)
    history = fit(model, data, PipelineParams.parse({}))
    assert (history.is_iterative, len(history.rows)) == (True, 40)
    assert kind == "Classifier" or history.best_epoch < 40
    inputs, targets = data.validation.arrays
    answers = predictor(model, data)(inputs)
    if kind == "Classifier":
        assert (answers.argmax(axis=1) == targets).mean() == history.best["val_accuracy"]
    else:
        error = np.abs(answers[:, 0] - targets).mean()
        assert error == pytest.approx(history.best["val_mae"], rel=1e-4)
    assert describe(model)[0] > 0
    assert [file.name for file in tmp_path.iterdir()] == []
    file = estimators.save(model, tmp_path)
    assert file.name == f"{type(model).__name__}{LIBRARIES[library][2]}"
    rows = waves.as_frame(waves.validation.features) if kind == "Regressor" else inputs
    restored = estimators.restore(str(file))
    np.testing.assert_array_equal(estimators.predict(restored, rows), answers)
    (needed,) = estimators.requirements(model)
    assert needed.startswith(f"{library}==")
    params = str(model.get_params())
    again = fit(model, data, PipelineParams.parse({}))
    assert [row["val_loss"] for row in again.rows] == [row["val_loss"] for row in history.rows]
    assert str(model.get_params()) == params


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("Classifier", {"loss_function": "MultiClassOneVsAll"}),
        ("Classifier", {"auto_class_weights": "Balanced"}),
        ("Regressor", {"loss_function": "MAE"}),
        ("Regressor", {"loss_function": "Quantile"}),
    ],
)
def test_catboost_may_minimize_another_loss(
    kind: str, params: dict[str, Any], blobs: ImageData, waves: TableData
) -> None:
    pytest.importorskip("catboost")
    data = blobs if kind == "Classifier" else waves
    history = fit(made("catboost", kind).set_params(**params), data, PipelineParams.parse({}))
    assert (history.is_iterative, len(history.rows)) == (True, 40)


def test_boosting_of_other_libraries_may_end_a_pipeline(
    library: str, waves: TableData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = make_pipeline(StandardScaler(), made(library, "Regressor"))
    history = fit(model, waves, PipelineParams.parse({}))
    assert history.is_iterative == (library == "catboost")
    inputs, targets = waves.validation.arrays
    error = np.abs(predictor(model, waves)(inputs)[:, 0] - targets).mean()
    assert error == pytest.approx(history.best["val_mae"], rel=1e-4)
    assert not list(tmp_path.iterdir())
    restored = estimators.restore(str(estimators.save(model, tmp_path)))
    np.testing.assert_array_equal(
        estimators.predict(restored, waves.as_frame(inputs)), predictor(model, waves)(inputs)
    )


def test_own_metrics_are_in_the_best_row_of_other_libraries(library: str, waves: TableData) -> None:
    bias = Metric("bias", False, lambda y, answers: float((answers[:, 0] - y).mean()))
    model = made(library, "Regressor")
    history = fit(model, waves, PipelineParams.parse({}), metrics=[bias])
    inputs, targets = waves.validation.arrays
    error = (predictor(model, waves)(inputs)[:, 0] - targets).mean()
    assert len(history.rows) == 40
    assert history.summary["best_val_bias"] == pytest.approx(error, rel=1e-3)
    if library == "catboost":
        fit(model, waves, PipelineParams.parse({}), metrics=[bias], rank_by=bias)
        return
    with pytest.raises(ValueError, match=f"rank_by: {library} has no bias of each iteration; rank"):
        fit(model, waves, PipelineParams.parse({}), metrics=[bias], rank_by=bias)


def test_class_weights_change_other_libraries_but_not_their_scores(
    library: str, blobs: ImageData
) -> None:
    model, weights = made(library, "Classifier"), {"top": 9.0}
    history = fit(model, blobs, PipelineParams.parse({}), class_weights=weights)
    plain = fit(made(library, "Classifier"), blobs, PipelineParams.parse({}))
    assert history.best["train_loss"] != plain.best["train_loss"]
    scores = score_classes(predictor(model, blobs)(blobs.train.images), blobs.train.labels)
    assert history.best["train_loss"] == pytest.approx(scores["loss"], rel=1e-3)
