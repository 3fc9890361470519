import io
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from numpy.typing import NDArray

from tests.evaluation.drawing import drawn, figure_of, text_of, words
from trackml.data import TableData
from trackml.data.tables import TableSplit
from trackml.evaluation.exploration import explore
from trackml.evaluation.importance import permutation_importance, plot_importance
from trackml.evaluation.regression import evaluate_regressor, plot_errors
from trackml.evaluation.report import Report
from trackml.history import History
from trackml.metrics import MAE, Metric


def table(*columns: str, limit: int = 0) -> TableData:
    random = np.random.default_rng(0)
    features = random.normal((5, 36, -119), (1, 2, 2), size=(300, 3))
    target = features[:, 0] * 0.5
    return TableData.from_arrays(
        "homes",
        (features[:200], target[:200]),
        (features[200:], target[200:]),
        columns=columns or ("Rooms", "Latitude", "Longitude"),
        target_name="Price",
        unit="dollars",
        validation_split=0.25,
        limit=limit,
    )


def report(*columns: str) -> Report:
    """Of a model that predicts half a dollar too much for each test row."""
    data = table(*columns)
    predictions = data.test.target[:, np.newaxis] + np.float32(0.5)
    row = {"train_loss": 0.5, "val_loss": 0.6, "train_mae": 0.4, "val_mae": 0.5}
    history = History(MAE, "float32", rows=(row,))
    return evaluate_regressor(lambda rows: predictions[: len(rows)], data, history)


def test_a_report_has_all_names_of_the_contract_and_a_map_if_there_are_coordinates() -> None:
    homes = report()
    assert set(homes.metrics) == {
        *("test_mse", "test_rmse", "test_mae", "test_r2", "prediction_seconds_per_1000")
    }
    assert homes.metrics["test_rmse"] == pytest.approx(0.5)
    assert homes.metrics["test_mae"] == pytest.approx(0.5)
    assert drawn(homes) == {
        *("learning_curves", "predicted_vs_true", "residuals", "error_map"),
        "permutation_importance",
    }
    assert "figures/error_map.png" not in report("Rooms", "Age", "Floor").figures


def mixed(target: str, rows: int = 60) -> TableData:
    """Numbers, texts and missing values; a latitude is missing."""
    number = np.arange(rows)
    frame = pd.DataFrame(
        {
            "Latitude": np.where(number % 9, 37 + number / rows, np.nan),
            "Longitude": -120.0 + number % 7,
            "town": pd.Series(["York", "Bath", None]).repeat(rows // 3).to_numpy(),
            "kind": np.array(["owl", "tit", "emu"])[number % 3],
            "price": number / 10,
        }
    )
    return TableData.from_frame("mixed", frame, target=target, missing="impute")


def test_a_table_with_texts_and_missing_values_has_a_report_without_epochs() -> None:
    data, row = mixed("price"), {"train_loss": 0.5, "val_loss": 0.6, "val_mae": 0.5}
    worst = Metric("worst", False, lambda true, answers: np.abs(true - answers[:, 0]).max())
    history = History(MAE, "float32", rows=(row,), metrics=(MAE, worst), is_iterative=False)
    answers = data.test.target[:, np.newaxis] + np.float32(0.5)
    homes = evaluate_regressor(lambda rows: answers[: len(rows)], data, history)
    assert homes.metrics["test_worst"] == pytest.approx(0.5)
    assert homes.metrics["test_mae"] == pytest.approx(0.5)
    assert drawn(homes) == {
        *("predicted_vs_true", "residuals", "error_map", "permutation_importance")
    }
    shown = cells(figure_of(homes, "figures/error_map.png").axes[0])
    assert list(shown) == pytest.approx([0.5] * len(shown))
    with pytest.raises(ValueError, match="mixed has classes: evaluate_classifier is for those"):
        evaluate_regressor(lambda rows: answers[: len(rows)], mixed("kind"), history)


def test_axes_name_their_quantity_and_its_unit() -> None:
    homes = report()
    scatter = figure_of(homes, "figures/predicted_vs_true.png").axes[0]
    assert scatter.get_xlabel() == "true Price (dollars)"
    assert scatter.get_ylabel() == "predicted Price (dollars)"
    assert "on 100 test rows" in scatter.get_title()
    true, predicted = np.asarray(scatter.collections[0].get_offsets()).T
    assert (predicted > true).all()
    over, spread = figure_of(homes, "figures/residuals.png").axes[:2]
    assert over.get_xlabel() == "predicted Price (dollars)"
    assert "mean -0.500, median -0.500" in spread.get_title()
    assert "100 test rows" in figure_of(homes, "figures/error_map.png").get_suptitle()


def cells(axes: Axes) -> dict[float, list[float]]:
    """The value of each cell of a map, and where it is: [x, y]."""
    (collection,) = axes.collections
    values, places = np.asarray(collection.get_array()), np.asarray(collection.get_offsets())
    return dict(zip(values.tolist(), places.round(1).tolist(), strict=True))


@pytest.mark.parametrize(("west", "south", "california"), [(-123, 33, True), (-3, 43, False)])
def test_the_map_shows_size_and_sign_of_errors_in_their_places_and_the_cities_in_view(
    west: float, south: float, california: bool
) -> None:
    latitude, longitude = np.array([south, south + 8.0]), np.array([west + 6.0, west])
    size, sign = plot_errors(latitude, longitude, np.array([-1.0, 0.5]), "price").axes[:2]
    assert cells(size) == {1.0: [west + 6, south], 0.5: [west, south + 8]}
    assert cells(sign) == {-1.0: [west + 6, south], 0.5: [west, south + 8]}
    assert ("Fresno" in words(size.texts)) == bool(size.texts) == california
    assert size.get_xlim()[0] > west - 10


def test_exploration_uses_training_rows_only() -> None:
    data = table()
    homes = explore(data)
    text = io.StringIO(text_of(homes, "reports/feature_statistics.csv"))
    statistics = pd.read_csv(text, index_col="column")
    assert list(statistics.index) == ["Rooms", "Latitude", "Longitude", "Price"]
    assert set(statistics["count"]) == {150}
    highest = data.train.features[:, 0].max()
    assert statistics.loc["Rooms", "max"] == pytest.approx(highest, rel=1e-5)
    assert set(statistics.columns) >= {"mean", "std", "min", "25%", "50%", "75%", "max"}
    heat_map = figure_of(homes, "figures/correlations.png").axes[0]
    assert "150 training rows" in heat_map.get_title()
    values = words(heat_map.texts)
    assert (values[6], values[-1]) == ("1.00", "1.00")  # price is half the rooms


def test_texts_are_counted_and_classes_are_drawn() -> None:
    data = mixed("kind")
    birds, frame = explore(data), data.as_frame(data.train.features)
    text = io.StringIO(text_of(birds, "reports/feature_statistics.csv"))
    statistics = pd.read_csv(text, index_col="column")
    assert list(statistics.index) == ["Latitude", "Longitude", "town", "price", "kind"]
    assert statistics["missing"].tolist() == [*frame.isna().sum(), 0]
    assert statistics.loc["town", "distinct"] == 2
    assert statistics.loc["kind", "most_frequent_count"] == np.bincount(data.train.target).max()
    heat_map = figure_of(birds, "figures/correlations.png").axes[0]
    assert words(heat_map.get_yticklabels()) == ["Latitude", "Longitude", "price"]
    classes = figure_of(birds, "figures/target.png").axes[0]
    assert words(classes.get_yticklabels()) == ["emu", "owl", "tit"]
    assert classes.texts[0].get_text().startswith(f" {np.bincount(data.train.target)[0]} (")


@pytest.mark.parametrize("columns", [0, 1, 30, 120])
def test_correlations_are_of_numbers_only_and_of_a_hundred_at_most(columns: int) -> None:
    numbers = np.random.default_rng(0).random((40, columns))
    frame = pd.DataFrame(
        numbers, columns=[f"a column with a long name {n}" for n in range(columns)]
    )
    frame = frame.assign(text=["x", "y"] * 20, kind=["p", "q"] * 20)
    table = TableData.from_frame("wide", frame, target="kind")
    figure = explore(table).figures["figures/correlations.png"]()
    if columns < 2:
        assert figure is None
        return
    assert figure
    axes = figure.axes[0]
    assert len(axes.get_yticklabels()) == min(columns, 100)
    assert all(len(name) == 24 for name in words(axes.get_yticklabels()))
    assert ("of the last 100 of 120 columns" in axes.get_title()) == (columns == 120)
    assert not axes.texts


def test_a_single_row_has_statistics_and_no_correlation() -> None:
    homes = explore(table(limit=1))
    assert drawn(homes) == {"correlations", "target"}
    assert "Rooms,1,0," in text_of(homes, "reports/feature_statistics.csv")


@pytest.mark.parametrize("target", ["price", "kind"])
def test_shuffling_a_column_that_matters_makes_validation_rows_worse(target: str) -> None:
    data = mixed(target)
    data = replace(data, test=TableSplit(data.test.features * np.nan, data.test.target))

    def predict(features: NDArray[Any]) -> NDArray[Any]:
        """The town alone decides."""
        towns = np.nan_to_num(features[:, data.columns.index("town")]).astype(np.int64)
        of_towns = [[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]] if data.classes else [[1.0], [5.0]]
        answers: NDArray[Any] = np.array(of_towns)[towns]
        return answers

    rises, rows = permutation_importance(predict, data)
    assert (rises.shape, rows) == ((len(data.columns), 3), len(data.validation))
    matters = np.abs(rises).max(axis=1) > 0
    assert [name for name, does in zip(data.columns, matters, strict=True) if does] == ["town"]
    again, _ = permutation_importance(predict, data)
    np.testing.assert_array_equal(rises, again)
    figure = plot_importance(predict, data)
    assert figure
    axes = figure.axes[0]
    assert len(words(axes.get_yticklabels())) == len(data.columns)
    assert axes.get_xlabel().startswith(f"rise of the {'loss (nats)' if data.classes else 'RMSE'}")
