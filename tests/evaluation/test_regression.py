import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from numpy.typing import NDArray

from trackml.data import TableData
from trackml.evaluation.exploration import explore
from trackml.evaluation.figures import regression as figures
from trackml.evaluation.regression import evaluate_regressor
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
        target_name="Price",
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
    report = evaluate_regressor(lambda rows: predictions[: len(rows)], table(), history)
    assert set(report.metrics) == {
        *("test_mse", "test_rmse", "test_mae", "test_r2", "prediction_seconds_per_1000")
    }
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
    drawn = evaluate_regressor(lambda rows: predictions[: len(rows)], table(), history).figures
    scatter = drawn["figures/predicted_vs_true.png"].axes[0]
    assert scatter.get_xlabel() == "true Price (dollars)"
    assert scatter.get_ylabel() == "predicted Price (dollars)"
    assert "on 100 test rows" in scatter.get_title()
    true, predicted = np.asarray(scatter.collections[0].get_offsets()).T
    assert (predicted > true).all()
    over, spread = drawn["figures/residuals.png"].axes[:2]
    assert over.get_xlabel() == "predicted Price (dollars)"
    assert "mean +0.500, median +0.500" in spread.get_title()


def test_a_map_needs_a_place(predictions: NDArray[np.float32], history: History) -> None:
    elsewhere = table(columns=("Rooms", "Age", "Floor"))
    report = evaluate_regressor(lambda rows: predictions[: len(rows)], elsewhere, history)
    assert "figures/error_map.png" not in report.figures


def cells(axes: Axes) -> dict[float, list[float]]:
    """The value of each cell of a map, and where it is: [x, y]."""
    (collection,) = axes.collections
    values, places = np.asarray(collection.get_array()), np.asarray(collection.get_offsets())
    return dict(zip(values.tolist(), places.round(1).tolist(), strict=True))


def test_the_map_shows_sizes_and_sides_in_their_places() -> None:
    figure = figures.error_map(
        np.array([33.0, 41.0]), np.array([-117.0, -123.0]), np.array([-1.0, 0.5]), "price"
    )
    sizes, sides = figure.axes[:2]
    assert cells(sizes) == {1.0: [-117, 33], 0.5: [-123, 41]}
    assert cells(sides) == {-1.0: [-117, 33], 0.5: [-123, 41]}
    assert "Fresno" in {text.get_text() for text in sizes.texts}


def test_a_map_of_another_place_has_none_of_californias_cities() -> None:
    figure = figures.error_map(
        np.array([43.0, 51.0]), np.array([-3.0, 3.0]), np.array([-1.0, 0.5]), "price"
    )
    assert not figure.axes[0].texts
    assert figure.axes[0].get_xlim()[0] > -10


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
    assert (values[6], values[-1]) == ("1.00", "1.00")  # price is half the rooms


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
