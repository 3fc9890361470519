"""Figures on the regression of a table, and on the table."""

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from trackml.evaluation.figures.canvas import FIRST, SECOND, canvas, canvases, label_cells

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
    """Predicted minus true: over the prediction, with its deciles, and as a distribution.

    Args:
        predicted, true: (N,). quantity: what they are, with its unit.
    """
    errors = predicted - true
    figure, (over, spread) = canvases(2, width=12, height=4.8)
    _density(over, predicted, errors)
    over.axhline(0, color="0.3", linewidth=1)
    groups = [part for part in np.array_split(np.argsort(predicted), 20) if len(part)]
    centres = [predicted[group].mean() for group in groups]
    for quantile, style in ((0.1, ":"), (0.5, "-"), (0.9, ":")):
        line = [np.quantile(errors[group], quantile) for group in groups]
        label = {0.1: "10 % and 90 % quantiles", 0.5: "median"}.get(quantile)
        over.plot(centres, line, color=SECOND, linestyle=style, linewidth=1.6, label=label)
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


def error_map(
    latitude: Floats, longitude: Floats, predicted: Floats, true: Floats, quantity: str
) -> Figure:
    """Where in California the model errs: by how much, and to which side.

    Args:
        latitude, longitude: (N,), degrees. predicted, true: (N,). quantity: what they are.
    """
    errors = predicted - true
    figure, (size, side) = canvases(2, width=12.5, height=6)
    # A few extreme rows must not bleach all others.
    largest = float(np.quantile(np.abs(errors), 0.95)) or 1.0
    panels = (
        (size, np.abs(errors), "mean absolute error", "rocket_r", 0.0),
        (side, errors, "mean of predicted minus true", "vlag", -largest),
    )
    for axes, values, title, colours, lowest in panels:
        cells = axes.hexbin(
            longitude,
            latitude,
            values,
            gridsize=(44, 30),
            mincnt=1,
            cmap=colours,
            vmin=lowest,
            vmax=largest,
            linewidths=0.2,
            edgecolors="0.6",
        )
        bar = figure.colorbar(cells, ax=axes, shrink=0.8, extend="both" if lowest else "max")
        bar.set_label(quantity)
        for city, (north, east) in CITIES.items():
            axes.plot(east, north, marker="o", markersize=3.5, color="black")
            text = axes.annotate(
                city, (east, north), (5, 4), textcoords="offset points", fontsize=8.5
            )
            text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
        axes.set(title=title, xlabel="longitude, degrees", ylabel="latitude, degrees")
        # A degree of longitude is shorter than one of latitude, by the cosine of the latitude.
        axes.set_aspect(1 / np.cos(np.radians(latitude.mean())))
        sns.despine(ax=axes)
    return figure


def correlations(table: pd.DataFrame) -> Figure:
    """Pearson's correlation of each pair of columns."""
    values = table.corr().round(2) + 0.0  # no -0.00
    side = 1.8 + 0.68 * len(values)
    figure, axes = canvas(side + 0.8, side)
    sns.heatmap(
        values,
        mask=np.triu(np.ones_like(values, dtype=bool), k=1),
        annot=True,
        fmt=".2f",
        annot_kws={"size": 9},
        vmin=-1,
        vmax=1,
        cmap="vlag",
        linewidths=0.5,
        square=True,
        cbar_kws={"label": "Pearson's correlation", "shrink": 0.8},
        ax=axes,
    )
    axes.set(title=f"Correlations over {len(table):,} training rows")
    label_cells(axes)
    return figure


def _density(axes: Axes, x: Floats, y: Floats) -> None:
    # Not from white: a cell with a single row must be seen.
    colours = sns.color_palette("blend:#a8cfe5,#08306b", as_cmap=True)
    cells = axes.hexbin(x, y, gridsize=55, mincnt=1, bins="log", cmap=colours, linewidths=0.1)
    axes.figure.colorbar(cells, ax=axes, label="rows in a cell", shrink=0.8, format="%d")
