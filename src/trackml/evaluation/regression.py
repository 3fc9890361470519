"""The evaluation of regressions of a table, and a first look at the table."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trackml.data import TableData
from trackml.evaluation.figures import regression as drawn
from trackml.evaluation.figures import training
from trackml.evaluation.metrics import regression_metrics
from trackml.evaluation.report import Report
from trackml.history import History

PLACE = ("Latitude", "Longitude")


def explore(data: TableData) -> Report:
    """The statistics of each column, and their correlations, over the training rows alone."""
    columns = [*data.columns, data.target]
    table = pd.DataFrame(np.column_stack(data.train.arrays).astype(np.float64), columns=columns)
    statistics = table.describe().T.rename_axis("column")
    return Report(
        texts={"reports/feature_statistics.csv": statistics.to_csv(float_format="%.6g")},
        figures={"figures/correlations.png": drawn.correlations(table)},
    )


def evaluate_regressor(
    predictions: NDArray[np.float32], data: TableData, history: History
) -> Report:
    """Score predictions for the test rows, once, and draw what a person wants to see.

    A map of the errors is drawn for tables with the columns Latitude and Longitude.

    Args:
        predictions: float32 (N, 1), for the N test rows.
    """
    true, predicted = data.test.target, predictions[:, 0]
    metrics = regression_metrics(predictions, true)
    quantity = f"{data.target} ({data.unit})" if data.unit else data.target
    title = f"R² {metrics['r2']:.3f}, RMSE {metrics['rmse']:.3f}, on {len(true):,} test rows"
    figures = {
        "figures/learning_curves.png": training.learning_curves(history),
        "figures/predicted_vs_true.png": drawn.predicted_vs_true(predicted, true, quantity, title),
        "figures/residuals.png": drawn.residuals(predicted, true, quantity),
    }
    if set(PLACE) <= set(data.columns):
        latitude, longitude = (data.test.features[:, data.columns.index(name)] for name in PLACE)
        figures["figures/error_map.png"] = drawn.error_map(
            latitude, longitude, predicted, true, quantity
        )
    return Report({f"test_{name}": value for name, value in metrics.items()}, figures=figures)
