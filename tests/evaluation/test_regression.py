import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from tests.evaluation.drawing import drawn, figure_of, text_of, words
from trackml.data import TableData
from trackml.evaluation.exploration import explore
from trackml.evaluation.regression import evaluate_regressor, plot_errors
from trackml.evaluation.report import Report
from trackml.history import History
from trackml.metrics import MAE


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
    assert drawn(homes) == {"learning_curves", "predicted_vs_true", "residuals", "error_map"}
    assert "figures/error_map.png" not in report("Rooms", "Age", "Floor").figures


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
    assert "mean +0.500, median +0.500" in spread.get_title()


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


def test_a_single_row_has_statistics_and_no_correlation() -> None:
    homes = explore(table(limit=1))
    assert drawn(homes) == {"correlations"}
    assert "Rooms,1," in text_of(homes, "reports/feature_statistics.csv")
