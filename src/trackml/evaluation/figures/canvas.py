"""What all figures are drawn on, and their colours."""

from typing import Any

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

FIRST, SECOND, THIRD = sns.color_palette("colorblind")[:3]
DPI = 120


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of one pair of axes, sizes in inches."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    return figure, figure.subplots()


def canvases(columns: int, width: float, height: float) -> tuple[Figure, NDArray[Any]]:
    """A figure of several axes side by side: Axes (columns,). Sizes in inches, of the whole."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    return figure, figure.subplots(1, columns)


def label_cells(axes: Axes) -> None:
    """Turn the labels of a heat map so that long ones do not run into each other."""
    axes.tick_params(axis="x", rotation=40)
    axes.tick_params(axis="y", rotation=0)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("right")
