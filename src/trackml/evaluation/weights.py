"""The weights of a dense network's first layer, as images."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from trackml.evaluation.figures.axes import grid
from trackml.evaluation.figures.galleries import mosaic
from trackml.evaluation.report import Report

MAX_UNITS = 20
_COLUMNS = 5
_SCALE_QUANTILE = 0.995  # of the absolute weights: one large weight would make the others pale


def draw_weights(
    before: Sequence[NDArray[Any]],
    after: Sequence[NDArray[Any]],
    shape: tuple[int, int],
    classes: Sequence[str],
) -> Report:
    """Rows of the first W as images, before and after training, each with its own color scale.

    Red is above 0, blue below. For softmax regression a row per class; otherwise the hidden units
    with the largest outgoing weights after training, whatever their sign.

    Args:
        before, after: W (outputs, inputs) of each layer.
        shape: height and width of the images.
    """
    figure = partial(plot_weights, before, after, shape, classes)
    return Report(figures={"figures/weights.png": figure})


def plot_weights(
    before: Sequence[NDArray[Any]],
    after: Sequence[NDArray[Any]],
    shape: tuple[int, int],
    classes: Sequence[str],
) -> Figure:
    """The figure of `draw_weights`."""
    if len(after) == 1:
        rows, names = np.arange(len(classes)), list(classes)
        title = "Rows of W: the weight of each pixel for the score of a class"
    else:
        outgoing = np.abs(after[1]).max(axis=0)  # (units,)
        rows = np.argsort(-outgoing, kind="stable")[:MAX_UNITS]
        names = [f"unit {row}" for row in rows]
        title = "Rows of the first W, of the hidden units with the largest outgoing weights"
    columns = min(len(rows), _COLUMNS)
    figure, cells = grid(1, 2, width=13, height=1.3 + 1.3 * -(-len(rows) // columns))
    for axes, weights, when in zip(cells[0], (before, after), ("before", "after"), strict=True):
        images = weights[0][rows].reshape(-1, *shape)
        tiles, corners = mosaic(images, columns, gap=4, above=9, background=np.nan)
        limit = float(np.quantile(np.abs(images), _SCALE_QUANTILE))
        image = axes.imshow(tiles, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        for (left, top), name in zip(corners, names, strict=True):
            middle = left + shape[1] / 2
            axes.text(middle, top - 1, name, ha="center", va="bottom", fontsize=9)
        axes.set_axis_off()
        axes.set_title(f"{when} training")
        figure.colorbar(image, ax=axes, label="weight", shrink=0.8, extend="both")
    figure.suptitle(title)
    return figure
