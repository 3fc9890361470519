"""What all figures are drawn on, and their colours."""

from typing import Any

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

FIRST, SECOND, THIRD, _, FIFTH = sns.color_palette("colorblind")[:5]
_DPI = 120


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of one pair of axes; sizes in inches."""
    figure, cells = grid(1, 1, width, height)
    return figure, cells[0, 0]


def grid(rows: int, columns: int, width: float, height: float) -> tuple[Figure, NDArray[Any]]:
    """A figure of Axes (rows, columns); sizes in inches, of the whole."""
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def slant_labels(axes: Axes) -> None:
    """Turn the names along the x axis, so that long ones do not run into each other."""
    axes.tick_params(axis="x", rotation=40)
    axes.tick_params(axis="y", rotation=0)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("right")
