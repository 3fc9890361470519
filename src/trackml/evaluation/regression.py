"""The evaluation of regressions of a table."""

import numpy as np
from numpy.typing import NDArray

from trackml.data import TableData
from trackml.evaluation.figures import regression as figures
from trackml.evaluation.figures.runs import learning_curves
from trackml.evaluation.metrics import regression_metrics
from trackml.evaluation.report import Report
from trackml.history import History

PLACE = ("Latitude", "Longitude")


def evaluate_regressor(
    predictions: NDArray[np.float32], data: TableData, history: History
) -> Report:
    """Score predictions for the test rows, once, and draw what a person wants to see.

    A map of the errors is drawn for tables with the columns Latitude and Longitude, in degrees.

    Args:
        predictions: float32 (N, 1), for the N test rows.
    """
    true, predicted = data.test.target, predictions[:, 0]
    metrics = regression_metrics(predictions, true)
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
    return Report({f"test_{name}": value for name, value in metrics.items()}, figures=drawn)
