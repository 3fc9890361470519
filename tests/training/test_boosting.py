"""XGBoost, LightGBM and CatBoost, where they are installed: rows, the best iteration, the files."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trackml.data import ImageData, TableData
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


def made(library: str, kind: str) -> Any:
    name, params, _ = LIBRARIES[library]
    return getattr(import_module(library), name.format(kind))(**params, **FAST)


@pytest.mark.parametrize("kind", ["Classifier", "Regressor"])
def test_boosting_of_other_libraries_keeps_its_best_iteration_in_its_own_format(
    library: str, kind: str, blobs: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 2))
    y = np.sin(x[:, 0]) + random.normal(0, 0.7, size=300)
    table = TableData.from_arrays(
        *("waves", (x[:200], y[:200]), (x[200:], y[200:])), columns=["a", "b"], validation_split=0.5
    )
    data = blobs if kind == "Classifier" else table
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
    rows = table.as_frame(table.validation.features) if kind == "Regressor" else inputs
    restored = estimators.restore(str(file))
    np.testing.assert_array_equal(estimators.predict(restored, rows), answers)
    (needed,) = estimators.requirements(model)
    assert needed.startswith(f"{library}==")
