"""The registered model of `housing` takes tables as people have them."""

import json
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel
from numpy.typing import NDArray

from pipelines.housing import Params, main
from tests.conftest import Finished
from trackml.data import load

TABLE = load("california_housing", 0.2)
ROWS = pd.DataFrame(TABLE.test.features[:50], columns=TABLE.columns)


@pytest.fixture(scope="module")
def model(finished: Finished) -> PyFuncModel:
    version = finished.client.get_model_version_by_alias("california_housing", "champion")
    (file,) = finished.folder.rglob(f"{str(version.source).split('/')[-1]}/artifacts/MLmodel")
    model: PyFuncModel = mlflow.pyfunc.load_model(str(file.parent))
    return model


def predict(model: PyFuncModel, table: pd.DataFrame) -> NDArray[np.float32]:
    return np.asarray(model.predict(table))


@given(order=st.permutations(TABLE.columns), extra=st.booleans(), dtype=st.sampled_from("fd"))
@settings(max_examples=20, deadline=None)
def test_columns_may_have_any_order_company_and_precision(
    model: PyFuncModel, order: list[str], extra: bool, dtype: Any
) -> None:
    table = ROWS[order].astype(dtype)
    if extra:
        table.insert(3, "Street", "Main")
    answers = predict(model, table)
    np.testing.assert_allclose(answers, predict(model, ROWS), rtol=1e-6)
    assert answers.shape == (50, 1)
    assert answers.dtype == np.float32


def test_whole_numbers_are_taken_as_numbers(model: PyFuncModel) -> None:
    whole = ROWS.round().astype("int64")
    np.testing.assert_array_equal(predict(model, whole), predict(model, whole.astype("float32")))


@pytest.mark.parametrize("column", TABLE.columns)
def test_a_missing_column_is_refused_by_name(model: PyFuncModel, column: str) -> None:
    with pytest.raises(MlflowException, match=rf"missing inputs.*{column}"):
        predict(model, ROWS.drop(columns=column))


def test_features_are_standardised_as_scikit_learn_does(model: PyFuncModel) -> None:
    from sklearn.preprocessing import StandardScaler

    inner = model.get_raw_model().layers[-1]  # type: ignore[no-untyped-call]
    normalised = inner.layers[1](TABLE.test.features[:50])
    scaler = StandardScaler().fit(TABLE.train.features[:3000].astype(np.float64))
    expected = scaler.transform(TABLE.test.features[:50])
    np.testing.assert_allclose(normalised, expected, rtol=1e-3, atol=1e-4)


def test_exploration_is_of_the_training_rows(finished: Finished) -> None:
    run = finished.run("housing")
    path = mlflow.artifacts.download_artifacts(
        f"{run.info.artifact_uri}/reports/feature_statistics.csv"
    )
    statistics = pd.read_csv(path, index_col="column")
    assert list(statistics.index) == [*TABLE.columns, "MedHouseVal"]
    assert set(statistics["count"]) == {3000}
    mean = TABLE.train.features[:3000].astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(statistics["mean"].to_numpy()[:8], mean, rtol=1e-4)


def test_the_same_seed_repeats_and_another_does_not(client: object) -> None:
    def rows(seed: int) -> str:
        params = Params.parse({"limit": 2000, "epochs": 3, "seed": seed, "dropout": 0.1})
        history = main(params).history
        return json.dumps([[row["train_loss"], row["val_mae"]] for row in history.rows])

    first, again, other = (rows(seed) for seed in (3, 3, 4))
    assert first == again != other


def test_a_single_row_is_enough_to_train_on(client: object) -> None:
    """All its columns are constant: their scale counts as one, as scikit-learn has it."""
    result = main(Params.parse({"limit": 1, "epochs": 1}))
    assert np.isfinite(result.report.metrics["test_rmse"])


def test_hidden_units_may_have_spaces_and_are_logged_without() -> None:
    assert Params.parse({"hidden_units": "64, 32"}).as_text()["hidden_units"] == "64,32"
    assert Params.parse({"hidden_units": 16}).hidden_units == "16"
