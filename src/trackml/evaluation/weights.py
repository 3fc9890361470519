"""What the first layer of a dense network has learnt, as images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trackml.evaluation.figures.weights import before_and_after
from trackml.evaluation.report import Report

SHOWN = 20  # hidden units


def draw_weights(
    before: Sequence[NDArray[Any]],
    after: Sequence[NDArray[Any]],
    shape: tuple[int, int],
    classes: Sequence[str],
) -> Report:
    """Rows of the first W as images, before and after training: what each looks for in an image.

    Of softmax regression a row per class, else those of the units that have the largest outgoing
    weights after training, whatever their sign.

    Args:
        before, after: W (outputs, inputs) of each layer.
        shape: height and width of the images.
    """
    if len(after) == 1:
        rows, names = np.arange(len(classes)), list(classes)
        title = "Rows of W: the weight of each pixel for the score of a class"
    else:
        outgoing = np.abs(after[1]).max(axis=0)  # (units,)
        rows = np.argsort(-outgoing, kind="stable")[:SHOWN]
        names = [f"unit {row}" for row in rows]
        title = "Rows of the first W, of the hidden units with the largest outgoing weights"
    first, last = (weights[0][rows].reshape(-1, *shape) for weights in (before, after))
    return Report(figures={"figures/weights.png": before_and_after(first, last, names, title)})
