"""The figure of the first layer's weights."""

from itertools import pairwise

import numpy as np
import pytest

from tests.evaluation.drawing import figure_of
from trackml.evaluation.weights import MAX_UNITS, draw_weights

SHAPE, CLASSES = (4, 5), ("a", "b", "c")


def weights(units: int, seed: int) -> list[np.ndarray]:
    """Of softmax regression if there are no units, else of a network with one hidden layer."""
    random = np.random.default_rng(seed)
    sizes = (20, units, 3) if units else (20, 3)
    return [random.normal(size=(after, before)) for before, after in pairwise(sizes)]


@pytest.mark.parametrize("units", [0, 2, MAX_UNITS, 30])
def test_rows_of_w_are_shown_per_class_or_for_the_units_with_the_largest_outgoing_weights(
    units: int,
) -> None:
    sides = before, after = weights(units, seed=1), weights(units, seed=2)
    names = dict(enumerate(CLASSES))
    if units:
        largest = {unit: max(abs(weight) for weight in after[1][:, unit]) for unit in range(units)}
        best = sorted(largest, key=lambda unit: -largest[unit])[:MAX_UNITS]
        names = {unit: f"unit {unit}" for unit in best}
    figure = figure_of(draw_weights(before, after, SHAPE, CLASSES), "figures/weights.png")
    height, width = SHAPE
    for axes, source, when in zip(figure.axes[:2], sides, ("before", "after"), strict=True):
        assert axes.get_title() == f"{when} training"
        image = np.asarray(axes.images[0].get_array())
        for text, (row, name) in zip(axes.texts, names.items(), strict=True):
            assert text.get_text() == name
            x, y = text.get_position()
            left, top = round(x - width / 2), round(y) + 1
            tile = image[top : top + height, left : left + width]
            np.testing.assert_array_equal(tile, source[0][row].reshape(SHAPE))
