"""The registered model of `housing` takes tables as people have them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel
from numpy.typing import NDArray

from pipelines.housing import Params, main
from tests.conftest import Finished
from trackml.data import load
from trackml.data.formats import HOUSING_FEATURES, HOUSING_TARGET


@dataclass(frozen=True)
class Champion:
    """The registered model, with 50 homes of the test data and its answers to them."""

    model: PyFuncModel
    homes: pd.DataFrame

    def predict(self, table: pd.DataFrame) -> NDArray[np.float32]:
        return np.asarray(self.model.predict(table))

    @cached_property
    def answers(self) -> NDArray[np.float32]:
        return self.predict(self.homes)


@pytest.fixture(scope="module")
def champion(finished: Finished) -> Champion:
    folder = finished.model_folder("california_housing", "champion")
    features = load("california_housing").test.features[:50]
    homes = pd.DataFrame(features, columns=HOUSING_FEATURES)
    return Champion(mlflow.pyfunc.load_model(str(folder)), homes)


@given(order=st.permutations(HOUSING_FEATURES), extra=st.booleans(), dtype=st.sampled_from("fd"))
@settings(max_examples=20)
def test_columns_may_have_any_order_company_and_precision(
    champion: Champion, order: list[str], extra: bool, dtype: Any
) -> None:
    table = champion.homes[order].astype(dtype)
    if extra:
        table.insert(3, "Street", "Main")
    answers = champion.predict(table)
    np.testing.assert_allclose(answers, champion.answers, rtol=1e-6)
    assert answers.shape == (50, 1)
    assert answers.dtype == np.float32


def test_whole_numbers_are_taken_as_numbers(champion: Champion) -> None:
    whole = champion.homes.round().astype("int64")
    floats = champion.predict(whole.astype("float32"))
    np.testing.assert_array_equal(champion.predict(whole), floats)


@pytest.mark.parametrize("column", HOUSING_FEATURES)
def test_a_missing_column_is_refused_by_name(champion: Champion, column: str) -> None:
    with pytest.raises(MlflowException, match=rf"missing inputs.*{column}"):
        champion.predict(champion.homes.drop(columns=column))


def test_a_missing_value_is_not_guessed(champion: Champion) -> None:
    with_gap, expected = champion.homes.copy(), champion.answers.copy()
    with_gap.loc[7, "HouseAge"] = expected[7] = np.nan
    np.testing.assert_allclose(champion.predict(with_gap), expected, rtol=1e-6)


def test_shuffled_rows_are_answered_in_their_order(champion: Champion) -> None:
    shuffled = champion.homes.sample(frac=1, random_state=0)
    expected = champion.answers[shuffled.index]
    np.testing.assert_allclose(champion.predict(shuffled), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "indexed",
    [
        lambda homes: homes[10:20],
        lambda homes: pd.concat([homes, homes]),
        lambda homes: homes.set_index("home " + homes.index.astype(str)),
    ],
    ids=["selected", "concatenated", "named"],
)
def test_a_table_without_one_row_labelled_0_needs_a_new_index(
    champion: Champion, indexed: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    """MLflow 3.17 looks for that row. Where this fails, README need not say so any more."""
    table = indexed(champion.homes)
    with pytest.raises(MlflowException):
        champion.predict(table)
    assert np.isfinite(champion.predict(table.reset_index(drop=True))).all()


def test_exploration_is_of_the_training_rows(finished: Finished) -> None:
    uri = f"{finished.run('housing').info.artifact_uri}/reports/feature_statistics.csv"
    statistics = pd.read_csv(mlflow.artifacts.download_artifacts(uri), index_col="column")
    assert list(statistics.index) == [*HOUSING_FEATURES, HOUSING_TARGET]
    assert set(statistics["count"]) == {3000}
    train = load("california_housing", 0.2, limit=3000).train.features
    mean = train.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(statistics["mean"].to_numpy()[:8], mean, rtol=1e-4)


@pytest.mark.usefixtures("client")
def test_a_single_row_is_enough_to_train_on() -> None:
    """All its columns are constant: their scale counts as one, as scikit-learn has it."""
    result = main(Params.parse({"limit": 1, "epochs": 1}))
    assert np.isfinite(result.report.metrics["test_rmse"])


def test_hidden_units_may_have_spaces_and_are_logged_without() -> None:
    assert Params.parse({"hidden_units": "64, 32"}).as_text()["hidden_units"] == "64,32"
    assert Params.parse({"hidden_units": 16}).hidden_units == "16"
