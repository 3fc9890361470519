"""The axes that all figures are drawn on: their size, colors and style."""

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

FIRST, SECOND, THIRD, _, FIFTH = sns.color_palette("colorblind")[:5]
LEGEND_ABOVE = {"loc": "lower left", "bbox_to_anchor": (0, 1)}
LEGEND_RIGHT = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
DPI = 120
MANY = 20  # classes or columns, above which a figure shows less of each
_MAX_NAME = 24  # characters


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with one pair of axes; sizes in inches."""
    figure, cells = grid(1, 1, width, height)
    return figure, cells[0, 0]


def grid(rows: int, columns: int, width: float, height: float) -> tuple[Figure, NDArray[Any]]:
    """A figure with Axes (rows, columns); sizes in inches, of the whole figure."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def finish(
    axes: Axes, legend: Any = None, *, lines: bool = False, epochs: bool = False, **labels: Any
) -> None:
    """Label axes and give them the common style, after everything is drawn.

    Args:
        legend: options of `Axes.legend`, such as {} or LEGEND_ABOVE; None for no legend.
        lines: draw grid lines. epochs: put ticks of x at whole numbers only.
        labels: title, xlabel, xlim and so on, as for `Axes.set`.
    """
    axes.set(**labels)
    if epochs:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if lines:
        axes.grid(alpha=0.25)
        axes.set_axisbelow(True)
    if legend is not None:
        axes.legend(frameon=False, **legend)
    sns.despine(ax=axes)


def heat_map(values: pd.DataFrame, side: float, label: str, **options: Any) -> tuple[Figure, Axes]:
    """Square cells, `side` inches together, and a labeled color bar; options of seaborn.heatmap."""
    figure, axes = canvas(side + 0.8, side)
    # seaborn takes seconds to find out whether labels of many cells would overlap.
    look: dict[str, Any] = {
        "square": True,
        "linewidths": 0.5,
        "xticklabels": False,
        "yticklabels": False,
    }
    bar = {"label": label, "shrink": 0.8}
    sns.heatmap(values, vmax=1, cbar_kws=bar, ax=axes, **look, **options)
    axes.set_xticks(np.arange(values.shape[1]) + 0.5, values.columns)
    axes.set_yticks(np.arange(values.shape[0]) + 0.5, values.index)
    slant_labels(axes)
    return figure, axes


def shortened(name: str, length: int = _MAX_NAME) -> str:
    """A name that leaves room for others; its end often tells it from them."""
    end = length // 3
    return name if len(name) <= length else f"{name[: length - 1 - end]}…{name[-end:]}"


def slant_labels(axes: Axes) -> None:
    """Turn the tick labels of the x axis, so that long ones do not overlap."""
    axes.tick_params(axis="x", rotation=40)
    axes.tick_params(axis="y", rotation=0)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("right")
