"""Figures on the weights of a network."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from trackml.evaluation.figures.canvas import grid
from trackml.evaluation.figures.galleries import mosaic

_COLUMNS = 5
_WITHIN_SCALE = 0.995  # of all weights: a single large one would make the others pale


def before_and_after(
    before: NDArray[Any], after: NDArray[Any], names: Sequence[str], title: str
) -> Figure:
    """Weights as images, those before training on the left: red above 0, blue below.

    Each side has a scale of its own, as weights are much smaller before. The few that are beyond
    it have the colour of its end.

    Args:
        before, after: (M, height, width), of the same M units.
        names: of each unit.
    """
    columns = min(len(names), _COLUMNS)
    lines = -(-len(names) // columns)
    figure, cells = grid(1, 2, width=13, height=1.3 + 1.3 * lines)
    for axes, images, when in zip(cells[0], (before, after), ("before", "after"), strict=True):
        together, places = mosaic(images, columns, gap=4, above=9, background=np.nan)
        limit = float(np.quantile(np.abs(images), _WITHIN_SCALE))
        drawn = axes.imshow(
            together, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest"
        )
        for (left, top), name in zip(places, names, strict=True):
            middle = left + images.shape[2] / 2
            axes.text(middle, top - 1, name, ha="center", va="bottom", fontsize=9)
        axes.set_axis_off()
        axes.set_title(f"{when} training")
        figure.colorbar(drawn, ax=axes, label="weight", shrink=0.8, extend="both")
    figure.suptitle(title)
    return figure
