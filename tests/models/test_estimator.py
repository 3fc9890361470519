"""Estimators as files: the same answers, and nothing that others cannot import, or must not run."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, SplineTransformer
from sklearn.svm import LinearSVC

from trackml.data import ImageData
from trackml.models import estimator as estimators


class Own(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A user's, which knows nothing."""

    def fit(self, x: Any, y: Any) -> "Own":
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, x: Any) -> Any:
        return np.full((len(x), len(self.classes_)), 1 / len(self.classes_))


ESTIMATORS: list[Callable[[], Any]] = [
    lambda: LogisticRegression(max_iter=200),
    lambda: ExtraTreesClassifier(5),
    lambda: GradientBoostingClassifier(n_estimators=2, max_features=5),
    lambda: HistGradientBoostingClassifier(max_iter=3),
    lambda: KNeighborsClassifier(3),
    lambda: MLPClassifier((4,), max_iter=400),
    lambda: CalibratedClassifierCV(LinearSVC(), cv=2),
    GaussianProcessClassifier,
    lambda: VotingClassifier([("a", LogisticRegression(max_iter=200))], voting="soft"),
    lambda: GridSearchCV(LogisticRegression(max_iter=200), {"C": [0.1, 1]}, cv=2),
    lambda: make_pipeline(SelectKBest(k=9), FunctionTransformer(np.log1p), SplineTransformer(),
                          LogisticRegression(max_iter=200)),
]  # fmt: skip


@pytest.mark.parametrize("make", ESTIMATORS)
@pytest.mark.filterwarnings("ignore:.*:sklearn.exceptions.ConvergenceWarning")
def test_a_restored_estimator_gives_the_same_answers(
    make: Callable[[], Any], blobs: ImageData, tmp_path: Path
) -> None:
    model = make()
    model.fit(estimators.flat(blobs.train.images), blobs.train.labels)
    images = blobs.test.images
    answers = estimators.predict(model, images)
    assert answers.shape == (len(images), 3)
    assert answers.dtype == np.float32
    restored = estimators.restore(str(estimators.save(model, tmp_path)))
    np.testing.assert_array_equal(estimators.predict(restored, images), answers)


def test_many_rows_are_answered_in_batches(
    blobs: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Ridge().fit(estimators.flat(blobs.train.images), blobs.train.labels)
    whole = estimators.predict(model, blobs.test.images)
    monkeypatch.setattr(estimators, "BATCH", 7)
    assert whole.shape == (60, 1)
    np.testing.assert_allclose(estimators.predict(model, blobs.test.images), whole, rtol=1e-5)


def own_function(x: Any) -> Any:
    return x


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (Own, "tests.models.test_estimator.Own"),
        (lambda: make_pipeline(FunctionTransformer(own_function), Ridge()), "own_function"),
        (lambda: make_pipeline(FunctionTransformer(np.save), Ridge()), "numpy.*save"),
        (lambda: GridSearchCV(Own(), {}), "test_estimator.Own"),
    ],
)
def test_what_others_cannot_import_is_neither_saved_nor_loaded(
    make: Callable[[], Any], name: str, tmp_path: Path
) -> None:
    message = f"a class or function that other programs cannot import.*{name}"
    with pytest.raises(ValueError, match=message):
        estimators.save(make(), tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "forged.skops").write_bytes(skops.io.dumps(make()))
    with pytest.raises(ValueError, match=message):
        estimators.restore(str(tmp_path / "forged.skops"))


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "sklearn.utils._testing.check_output",
        "sklearn.utils._testing.TempMemmap",  # a class, which writes a file
        "sklearn.datasets.fetch_openml",
        "xgboost.testing.data.PBM",
        "lightgbm.basic.Dataset",
    ],
)
def test_a_forged_file_runs_nothing(name: str, tmp_path: Path) -> None:
    module, _, function = name.rpartition(".")
    honest = skops.io.dumps(FunctionTransformer(np.log1p))
    with (
        zipfile.ZipFile(io.BytesIO(honest)) as read,
        zipfile.ZipFile(tmp_path / "forged.skops", "w") as written,
    ):
        schema = read.read("schema.json").decode()
        forged = schema.replace('"log1p"', f'"{function}"').replace('"numpy"', f'"{module}"')
        assert forged != schema
        written.writestr("schema.json", forged)
    with pytest.raises(ValueError, match=f"cannot import.*{name}"):
        estimators.restore(str(tmp_path / "forged.skops"))
