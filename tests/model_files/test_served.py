"""Models of tables as files: any request of named columns, the same answers, without trackml."""

import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from torch import nn

from tests.conftest import ABSENT, execute
from trackml.backends import keras
from trackml.data import TableData, TableSplit, load
from trackml.model_files.saving import save_model
from trackml.models.keras import fashion_cnn
from trackml.params import PipelineParams
from trackml.tasks import Framework
from trackml.training.sklearn import fit, predictor

COLUMNS = ("size", "city", "age")
CITIES = ("Bonn", "Köln", "Ulm")


def table(missing: Any, *, texts: bool = True) -> TableData:
    """Three classes, or a number without texts: which follow from the second column."""
    random = np.random.default_rng(0)

    def split(rows: int) -> TableSplit:
        city = random.integers(3, size=rows)
        columns = random.normal(size=rows), city, random.integers(90, size=rows)
        features = np.stack(columns, axis=1).astype(np.float32)
        if missing == "impute":
            features[::7, 0] = features[::5, 1] = np.nan
        return TableSplit(features, city.astype(np.int64 if texts else np.float32))

    return TableData(
        *("people", split(120), split(30), split(20), COLUMNS, "kind", "", "0" * 64, "made"),
        classes=("a", "b", "c") if texts else (),
        categories={"city": CITIES} if texts else {},
        missing=missing,
    )


def model_of(framework: Framework, data: TableData) -> tuple[Any, Any]:
    """A model, and what it answers to features (N, 3)."""
    outputs = len(data.classes) or 1
    if framework == "sklearn":
        numbers = SimpleImputer(), ["size", "age"]
        texts = OneHotEncoder(handle_unknown="ignore"), ["city"]
        trees = HistGradientBoostingRegressor(max_iter=5)
        columns = make_column_transformer(numbers, texts)
        linear = make_pipeline(columns, LogisticRegression(max_iter=2000))
        model = linear if data.categories else trees
        fit(model, data, PipelineParams.parse({}))
        return model, predictor(model, data)
    if framework == "torch":
        network = nn.Sequential(nn.Linear(3, outputs), nn.Softmax(1) if data.classes else nn.Tanh())
        return network, None
    inputs = keras.Input((3,))
    known = keras.ops.nan_to_num(inputs)
    activation = "softmax" if data.classes else None
    return keras.Model(inputs, keras.layers.Dense(outputs, activation=activation)(known)), None


EACH: list[tuple[Framework, str, bool]] = [
    *(("sklearn", missing, texts) for missing in ("refuse", "impute") for texts in (True, False)),
    ("torch", "refuse", True),
    ("torch", "refuse", False),
    ("keras", "impute", True),
    ("keras", "impute", False),
]


@pytest.fixture(params=EACH, ids=lambda each: f"{each[0]}-{each[1]}-{'texts' if each[2] else ''}")
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[TableData, Any, Path]:
    framework, missing, texts = request.param
    data = table(missing, texts=texts)
    model, predict = model_of(framework, data)
    save_model(str(tmp_path / "model"), model, framework, data)
    return data, predict, tmp_path / "model"


def test_any_request_of_these_columns_gets_the_same_answers(
    saved: tuple[TableData, Any, Path],
) -> None:
    data, predict, path = saved
    model, features = mlflow.pyfunc.load_model(str(path)), data.test.features
    frame = data.as_frame(features)
    answers = model.predict(frame)
    assert (answers.shape, answers.dtype) == ((20, len(data.classes) or 1), np.float32)
    if predict:
        np.testing.assert_array_equal(answers, predict(features))
    requests = [
        frame[["age", "city", "size"]].assign(more="x"),
        frame.astype({"size": "float64", "age": "float64"}),
        frame.astype({"size": "object", "age": "int64"}),
    ]
    for request in requests:
        np.testing.assert_allclose(model.predict(request), answers, rtol=1e-5)
    named = {"classes": ["a", "b", "c"]} if data.classes else {"target_name": "kind"}
    assert named.items() <= model.metadata.metadata.items()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": [np.nan, 1.0]}, "column size, row 1 of the request: a value is missing"),
        ({"city": ["Ulm", None]}, "column city, row 2 of the request: a value is missing"),
        ({"city": ["Ulm", "Rom"]}, "column city, row 2 .*: Rom is none of Bonn, Köln, Ulm"),
        ({"age": [1.0, np.inf]}, "column age, row 2 of the request: a number is infinite"),
    ],
)
def test_what_a_model_cannot_know_is_refused_by_name_or_imputed(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    row = pd.DataFrame({"size": [0.0, 0.0], "city": ["Bonn", "Köln"], "age": [9.0, 9.0]})
    for missing in ("refuse", "impute"):
        data = table(missing)
        save_model(str(tmp_path / missing), model_of("sklearn", data)[0], "sklearn", data)
        model = mlflow.pyfunc.load_model(str(tmp_path / missing))
        if missing == "impute" and "infinite" not in message:
            assert np.isfinite(model.predict(row.assign(**change))).all()
            continue
        with pytest.raises(MlflowException, match=message) as refused:
            model.predict(row.assign(**change))
        assert refused.value.error_code == "INVALID_PARAMETER_VALUE"  # a server answers with 400


KERAS_ANSWERS = """
from statistics import median
from time import perf_counter
import mlflow, numpy as np

def milliseconds(answer):
    seconds = []
    for _ in range(20):
        begun = perf_counter()
        answer(images[:1])
        seconds.append(perf_counter() - begun)
    return 1000 * median(seconds)

path, images = sys.argv[1], np.random.default_rng(0).integers(256, size=(600, 28, 28), dtype="u1")
network, served = mlflow.keras.load_model(path), mlflow.pyfunc.load_model(path)
predict = lambda images: network.predict(images, verbose=0)
np.testing.assert_allclose(served.predict(images), predict(images), atol=1e-6)
assert served.predict(images[:0]).shape == (0, 10)
print(milliseconds(served.predict), milliseconds(predict))
"""


def test_a_model_of_keras_answers_faster_than_predict_and_loads_as_one_of_keras(
    tmp_path: Path,
) -> None:
    model = fashion_cnn(10, 0.1)
    save_model(str(tmp_path / "model"), model, "keras", load("fashion_mnist", limit=100))
    program = (sys.executable, "-c", ABSENT + KERAS_ANSWERS, "trackml,pipelines,torch")
    said = execute(*program, str(tmp_path / "model"), folder=tmp_path, PYTHONPATH="")
    assert said.returncode == 0, said.stderr
    served, predict = map(float, said.stdout.split())
    assert served < predict / 4


ANSWER = """
import json, mlflow, numpy as np, pandas as pd
for path in sys.argv[1:]:
    rows = pd.DataFrame({"age": [9.0], "city": ["Ulm"], "size": [1.0]})
    print(json.dumps(mlflow.pyfunc.load_model(path).predict(rows).tolist()))
"""


def test_a_table_with_texts_is_answered_without_trackml_and_without_pickle(tmp_path: Path) -> None:
    frameworks: tuple[Framework, ...] = ("sklearn", "torch")
    for framework in frameworks:
        data = table("refuse")
        save_model(str(tmp_path / framework), model_of(framework, data)[0], framework, data)
    program = (sys.executable, "-c", ABSENT + ANSWER, "trackml,pipelines,keras,tensorflow")
    paths = (str(tmp_path / framework) for framework in frameworks)
    said = execute(*program, *paths, folder=tmp_path, PYTHONPATH="")
    assert said.returncode == 0, said.stderr
    assert said.stdout.count("]]") == 2
