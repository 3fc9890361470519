"""Figures on the predictions of a number."""

from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from trackml.evaluation.figures.canvas import FIRST, SECOND, canvas, grid

Floats = NDArray[np.floating[Any]]

CITIES = {  # degrees north, degrees east
    "San Francisco": (37.77, -122.42),
    "Sacramento": (38.58, -121.49),
    "Fresno": (36.74, -119.79),
    "Los Angeles": (34.05, -118.24),
    "San Diego": (32.72, -117.16),
}


def predicted_vs_true(predicted: Floats, true: Floats, quantity: str, title: str) -> Figure:
    """How many rows fell where, and the line on which a perfect model would put them all.

    Args:
        predicted, true: (N,). quantity: what they are, with its unit.
    """
    figure, axes = canvas(6.6, 5.8)
    _density(axes, true, predicted)
    low, high = min(true.min(), predicted.min()), max(true.max(), predicted.max())
    axes.plot((low, high), (low, high), color=SECOND, linewidth=1.2, label="predicted = true")
    axes.set(title=title, xlabel=f"true {quantity}", ylabel=f"predicted {quantity}")
    axes.set_aspect("equal")
    axes.legend(frameon=False, loc="upper left")
    sns.despine(ax=axes)
    return figure


def residuals(predicted: Floats, true: Floats, quantity: str) -> Figure:
    """Predicted minus true: over the prediction, with three quantiles, and as a distribution.

    Args:
        predicted, true: (N,). quantity: what they are, with its unit.
    """
    errors = predicted - true
    figure, ((over, spread),) = grid(1, 2, width=12, height=4.8)
    _density(over, predicted, errors)
    over.axhline(0, color="0.3", linewidth=1)
    # The quantiles of 20 groups of rows with similar predictions.
    groups = [group for group in np.array_split(np.argsort(predicted), 20) if len(group)]
    centres = [predicted[group].mean() for group in groups]
    low, middle, high = np.transpose([np.quantile(errors[g], (0.1, 0.5, 0.9)) for g in groups])
    over.plot(centres, middle, color=SECOND, label="median")
    over.plot(centres, low, color=SECOND, linestyle=":", label="10 % and 90 % quantiles")
    over.plot(centres, high, color=SECOND, linestyle=":")
    over.set(
        title="Residuals over the prediction", xlabel=f"predicted {quantity}", ylabel="residual"
    )
    over.legend(frameon=False, loc="upper left")
    sns.histplot(x=errors, bins=60, color=FIRST, edgecolor="white", linewidth=0.3, ax=spread)
    spread.axvline(0, color="0.3", linewidth=1)
    spread.set(
        title=f"mean {errors.mean():+.3f}, median {np.median(errors):+.3f}, "
        f"standard deviation {errors.std():.3f}",
        xlabel="residual: predicted minus true",
        ylabel="test rows",
    )
    for axes in (over, spread):
        sns.despine(ax=axes)
    return figure


def error_map(latitude: Floats, longitude: Floats, errors: Floats, quantity: str) -> Figure:
    """Where the model errs: by how much, and to which side. Cities of California are marked.

    Args:
        latitude, longitude: (N,), degrees.
        errors: (N,), predicted minus true. quantity: what they are, with its unit.
    """
    figure, ((size, side),) = grid(1, 2, width=12.5, height=6)
    most = float(np.quantile(np.abs(errors), 0.95)) or 1.0  # a few extremes must not bleach all
    for axes, values, title, colours, least, beyond in (
        (size, np.abs(errors), "mean absolute error", "rocket_r", 0.0, "max"),
        (side, errors, "mean of predicted minus true", "vlag", -most, "both"),
    ):
        cells = axes.hexbin(
            longitude,
            latitude,
            values,
            gridsize=(44, 30),
            mincnt=1,
            cmap=colours,
            vmin=least,
            vmax=most,
            linewidths=0.2,
            edgecolors="0.6",
        )
        figure.colorbar(cells, ax=axes, shrink=0.8, label=quantity, extend=beyond)
        _mark_cities(axes)
        axes.set(title=title, xlabel="longitude, degrees", ylabel="latitude, degrees")
        # A degree of longitude is shorter than one of latitude, by the cosine of the latitude.
        axes.set_aspect(1 / np.cos(np.radians(latitude.mean())))
        sns.despine(ax=axes)
    return figure


def _mark_cities(axes: Axes) -> None:
    """Those in view: a table may be of another place."""
    (west, east), (south, north) = axes.get_xlim(), axes.get_ylim()
    for city, (latitude, longitude) in CITIES.items():
        if not (south < latitude < north and west < longitude < east):
            continue
        axes.plot(longitude, latitude, marker="o", markersize=3.5, color="black")
        text = axes.annotate(
            city, (longitude, latitude), (5, 4), textcoords="offset points", fontsize=8.5
        )
        text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def _density(axes: Axes, x: Floats, y: Floats) -> None:
    # Not from white: a cell with a single row must be seen.
    colours = sns.color_palette("blend:#a8cfe5,#08306b", as_cmap=True)
    cells = axes.hexbin(x, y, gridsize=55, mincnt=1, bins="log", cmap=colours, linewidths=0.1)
    axes.figure.colorbar(cells, ax=axes, label="rows in a cell", shrink=0.8, format="%d")
