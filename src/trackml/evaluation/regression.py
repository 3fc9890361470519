"""The evaluation of regressions of a table."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from trackml.data import TableData
from trackml.evaluation import latency
from trackml.evaluation.figures import regression as figures
from trackml.evaluation.figures.runs import learning_curves
from trackml.evaluation.metrics import regression_metrics
from trackml.evaluation.report import Report
from trackml.history import History

PLACE = ("Latitude", "Longitude")


def evaluate_regressor(
    predict: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    data: TableData,
    history: History,
) -> Report:
    """Score a model's answers to the test rows, once, and draw what a person wants to see.

    A map of the errors is drawn for tables with the columns Latitude and Longitude, in degrees.

    Args:
        predict: features float32 (N, columns) → float32 (N, 1).
    """
    true, predicted = data.test.target, predict(data.test.features)[:, 0]
    metrics = regression_metrics(predicted, true)
    quantity = f"{data.target_name} ({data.unit})" if data.unit else data.target_name
    title = f"R² {metrics['r2']:.3f}, RMSE {metrics['rmse']:.3f}, on {len(true):,} test rows"
    drawn = {
        "figures/learning_curves.png": learning_curves(history),
        "figures/predicted_vs_true.png": figures.predicted_vs_true(
            predicted, true, quantity, title
        ),
        "figures/residuals.png": figures.residuals(predicted, true, quantity),
    }
    if set(PLACE) <= set(data.columns):
        latitude, longitude = (data.test.features[:, data.columns.index(name)] for name in PLACE)
        drawn["figures/error_map.png"] = figures.error_map(
            latitude, longitude, predicted - true, quantity
        )
    scores = {f"test_{name}": value for name, value in metrics.items()}
    seconds = latency.seconds_per_1000(predict, data.test.features)
    return Report(scores | {latency.METRIC: seconds}, figures=drawn)
