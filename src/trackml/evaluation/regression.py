"""The evaluation of regressions of a table: scores and figures."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from trackml.backends import standard_settings
from trackml.data import TableData
from trackml.evaluation.figures.axes import (
    FIRST,
    LEGEND_ABOVE,
    SECOND,
    canvas,
    finish,
    grid,
)
from trackml.evaluation.figures.runs import learning_curves
from trackml.evaluation.importance import plot_importance
from trackml.evaluation.report import Report
from trackml.history import History
from trackml.metrics import LATENCY, own_scores, regression_metrics, seconds_per_1000

Floats = NDArray[np.floating[Any]]

COORDINATES = ("Latitude", "Longitude")
CITIES = {  # degrees north, degrees east
    "San Francisco": (37.77, -122.42),
    "Sacramento": (38.58, -121.49),
    "Fresno": (36.74, -119.79),
    "Los Angeles": (34.05, -118.24),
    "San Diego": (32.72, -117.16),
}


@standard_settings()
def evaluate_regressor(
    predict: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    data: TableData,
    history: History,
) -> Report:
    """Score a regression on the test rows, once, and report the scores with figures.

    A table with the columns Latitude and Longitude, in degrees, also gets a map of the errors.

    Args:
        predict: features float32 (N, columns) → float32 (N, 1).

    Raises:
        ValueError: the target is classes.
    """
    if data.classes:
        raise ValueError(f"{data.name} has classes: evaluate_classifier is for those")
    features, true = data.test.arrays
    answers = predict(features)
    predicted = answers[:, 0]
    metrics = regression_metrics(predicted, true)
    quantity = f"{data.target_name} ({data.unit})" if data.unit else data.target_name
    labels = {
        "loss": "loss: mean squared error" + f"\nin ({data.unit})²" * bool(data.unit),
        "mae": "mean absolute error" + f"\n({data.unit})" * bool(data.unit),
    }
    title = f"R² {metrics['r2']:.3f}, RMSE {metrics['rmse']:.3f}, on {len(true):,} test rows"
    figures: dict[str, Callable[[], Figure | None]] = {
        "learning_curves": partial(learning_curves, history, labels),
        "predicted_vs_true": partial(plot_predictions, predicted, true, quantity, title),
        "residuals": partial(plot_residuals, predicted, true, quantity, data.unit),
        "permutation_importance": partial(plot_importance, predict, data),
    }
    if set(COORDINATES) <= {*data.columns} - {*data.categories}:
        places = features[:, [data.columns.index(name) for name in COORDINATES]]
        placed = np.isfinite(places).all(axis=1)
        latitude, longitude = places[placed].T
        errors = (true - predicted)[placed]
        figures["error_map"] = partial(plot_errors, latitude, longitude, errors, quantity)
    scores = own_scores(history.metrics, true, answers, "test_")
    scores |= {f"test_{name}": value for name, value in metrics.items()}
    scores[LATENCY] = seconds_per_1000(predict, features)
    return Report(scores, figures={f"figures/{name}.png": each for name, each in figures.items()})


def plot_predictions(predicted: Floats, true: Floats, quantity: str, title: str) -> Figure:
    """Predicted over true values (N,) as a density, with the line of perfect predictions."""
    figure, axes = canvas(6.6, 5.8)
    _density(axes, true, predicted)
    limits = (min(true.min(), predicted.min()), max(true.max(), predicted.max()))
    axes.plot(limits, limits, color=SECOND, linewidth=1.2)
    axes.set(aspect="equal", xlabel=f"true {quantity}", ylabel=f"predicted {quantity}")
    # No legend: there is no place that points never reach.
    finish(axes, title=f"{title}\nline: predicted = true")
    return figure


def plot_residuals(predicted: Floats, true: Floats, quantity: str, unit: str = "") -> Figure:
    """True minus predicted: over the prediction, with three quantiles, and as a distribution."""
    errors = true - predicted
    figure, ((over, spread),) = grid(1, 2, width=12, height=4.8)
    _density(over, predicted, errors)
    over.axhline(0, color="0.3", linewidth=1)
    # The quantiles of 20 groups of rows with similar predictions.
    groups = [group for group in np.array_split(np.argsort(predicted), 20) if len(group)]
    centers = [predicted[group].mean() for group in groups]
    low, middle, high = np.transpose([np.quantile(errors[g], (0.1, 0.5, 0.9)) for g in groups])
    over.plot(centers, middle, color=SECOND, label="median")
    over.plot(centers, low, color=SECOND, linestyle=":", label="10 % and 90 % quantiles")
    over.plot(centers, high, color=SECOND, linestyle=":")
    label = f"residual ({unit})" if unit else "residual"
    over.set(xlabel=f"predicted {quantity}", ylabel=label)
    finish(over, LEGEND_ABOVE | {"ncols": 2})
    sns.histplot(x=errors, bins=60, color=FIRST, edgecolor="white", linewidth=0.3, ax=spread)
    spread.axvline(0, color="0.3", linewidth=1)
    title = f"mean {errors.mean():+.3f}, median {np.median(errors):+.3f}, "
    title += f"standard deviation {errors.std():.3f}"
    finish(spread, title=title, xlabel=label, ylabel="test rows")
    figure.suptitle(f"Residuals, true minus predicted, of {len(true):,} test rows")
    return figure


def plot_errors(latitude: Floats, longitude: Floats, errors: Floats, quantity: str) -> Figure:
    """Size and sign of the errors (N,) on a map, with the cities of California in view."""
    figure, ((size, sign),) = grid(1, 2, width=12.5, height=6)
    limit = float(np.quantile(np.abs(errors), 0.95)) or 1.0  # a few outliers would pale the rest
    for axes, values, title, colors, low, extend in (
        (size, np.abs(errors), "mean absolute error", "rocket_r", 0.0, "max"),
        (sign, errors, "mean residual: true minus predicted", "vlag", -limit, "both"),
    ):
        cells = axes.hexbin(longitude, latitude, values, gridsize=(44, 30), mincnt=1)
        cells.set(cmap=colors, clim=(low, limit), linewidths=0.2, edgecolors="0.6")
        figure.colorbar(cells, ax=axes, shrink=0.8, label=quantity, extend=extend)
        _mark_cities(axes)
        # A degree of longitude is shorter than one of latitude, by the cosine of the latitude.
        axes.set_aspect(1 / np.cos(np.radians(latitude.mean())))
        finish(axes, title=title, xlabel="longitude, degrees", ylabel="latitude, degrees")
    figure.suptitle(f"Where {len(errors):,} test rows are, and the errors there")
    return figure


def _mark_cities(axes: Axes) -> None:
    (west, east), (south, north) = axes.get_xlim(), axes.get_ylim()
    for city, (latitude, longitude) in CITIES.items():
        if south < latitude < north and west < longitude < east:
            place = (longitude, latitude)
            axes.plot(*place, marker="o", markersize=3.5, color="black")
            text = axes.annotate(city, place, (5, 4), textcoords="offset points", fontsize=8.5)
            text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def _density(axes: Axes, x: Floats, y: Floats) -> None:
    # The colors do not start at white: a cell with a single row must be visible.
    colors = sns.color_palette("blend:#a8cfe5,#08306b", as_cmap=True)
    cells = axes.hexbin(x, y, gridsize=55, mincnt=1, bins="log", cmap=colors, linewidths=0.1)
    axes.figure.colorbar(cells, ax=axes, label="rows in a cell", shrink=0.8, format="%d")
