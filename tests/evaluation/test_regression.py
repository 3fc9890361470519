import io

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from trackml.data import TableData
from trackml.evaluation.figures import regression as figures
from trackml.evaluation.regression import evaluate_regressor, explore
from trackml.history import History

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def history() -> History:
    row = {"train_loss": 0.5, "val_loss": 0.6, "train_mae": 0.4, "val_mae": 0.5}
    return History("mae", "float32").extended(row)


def table(columns: tuple[str, ...] = ("Rooms", "Latitude", "Longitude")) -> TableData:
    random = np.random.default_rng(0)
    features = random.normal((5, 36, -119), (1, 2, 2), size=(300, 3))
    target = features[:, 0] * 0.5
    return TableData.from_arrays(
        "homes",
        (features[:200], target[:200]),
        (features[200:], target[200:]),
        columns=columns,
        target="Price",
        unit="dollars",
        validation_split=0.25,
    )


@pytest.fixture
def predictions() -> NDArray[np.float32]:
    """Half a dollar above the truth for all test rows."""
    return table().test.target[:, np.newaxis] + np.float32(0.5)


def test_a_report_has_everything_the_contract_names(
    predictions: NDArray[np.float32], history: History
) -> None:
    report = evaluate_regressor(predictions, table(), history)
    assert set(report.metrics) == {"test_mse", "test_rmse", "test_mae", "test_r2"}
    assert report.metrics["test_rmse"] == pytest.approx(0.5)
    assert report.metrics["test_mae"] == pytest.approx(0.5)
    assert set(report.figures) == {
        f"figures/{name}.png"
        for name in ("learning_curves", "predicted_vs_true", "residuals", "error_map")
    }
    for figure in report.figures.values():
        picture = io.BytesIO()
        figure.savefig(picture)
        assert picture.getvalue().startswith(PNG)


def test_axes_say_what_they_show_in_which_unit(
    predictions: NDArray[np.float32], history: History
) -> None:
    drawn = evaluate_regressor(predictions, table(), history).figures
    scatter = drawn["figures/predicted_vs_true.png"].axes[0]
    assert scatter.get_xlabel() == "true Price (dollars)"
    assert scatter.get_ylabel() == "predicted Price (dollars)"
    assert "on 100 test rows" in scatter.get_title()
    over, spread = drawn["figures/residuals.png"].axes[:2]
    assert over.get_xlabel() == "predicted Price (dollars)"
    assert "mean +0.500, median +0.500" in spread.get_title()


def test_a_map_needs_a_place(predictions: NDArray[np.float32], history: History) -> None:
    elsewhere = table(columns=("Rooms", "Age", "Floor"))
    report = evaluate_regressor(predictions, elsewhere, history)
    assert "figures/error_map.png" not in report.figures


def test_the_map_shows_sizes_and_sides() -> None:
    latitude, longitude = np.array([33.0, 41.0]), np.array([-117.0, -123.0])
    predicted, true = np.array([1.0, 3.0]), np.array([2.0, 2.5])
    figure = figures.error_map(latitude, longitude, predicted, true, "price")
    sizes, sides = (axes.collections[0].get_array() for axes in figure.axes[:2])
    assert sizes is not None
    assert sides is not None
    assert sorted(np.asarray(sizes)) == [0.5, 1.0]
    assert sorted(np.asarray(sides)) == [-1.0, 0.5]


def test_exploration_looks_at_training_rows_alone() -> None:
    data = table()
    report = explore(data)
    statistics = pd.read_csv(
        io.StringIO(report.texts["reports/feature_statistics.csv"]), index_col="column"
    )
    assert list(statistics.index) == ["Rooms", "Latitude", "Longitude", "Price"]
    assert set(statistics["count"]) == {150}
    most = data.train.features[:, 0].max()
    assert statistics.loc["Rooms", "max"] == pytest.approx(most, rel=1e-5)
    assert set(statistics.columns) >= {"mean", "std", "min", "25%", "50%", "75%", "max"}
    heat_map = report.figures["figures/correlations.png"].axes[0]
    assert "150 training rows" in heat_map.get_title()
    values = [text.get_text() for text in heat_map.texts]
    assert values[6:] == ["1.00", *values[7:9], "1.00"]  # price is half the rooms


def test_a_single_row_has_statistics_and_no_correlation() -> None:
    data = table()
    one = TableData.from_arrays(
        "homes",
        data.train.arrays,
        data.test.arrays,
        columns=data.columns,
        validation_split=0.25,
        limit=1,
    )
    report = explore(one)
    report.figures["figures/correlations.png"].savefig(io.BytesIO())
    assert "Rooms,1," in report.texts["reports/feature_statistics.csv"]
