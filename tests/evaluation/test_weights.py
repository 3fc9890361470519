"""The figure of the first layer's weights."""

from itertools import pairwise

import numpy as np
import pytest

from trackml.evaluation.weights import SHOWN, draw_weights

SHAPE, CLASSES = (4, 5), ("a", "b", "c")


def weights(units: int, seed: int) -> list[np.ndarray]:
    """Of softmax regression if there are no units, else of a network with one hidden layer."""
    random = np.random.default_rng(seed)
    sizes = (20, units, 3) if units else (20, 3)
    return [random.normal(size=(after, before)) for before, after in pairwise(sizes)]


def tiles(units: int) -> tuple[list[np.ndarray], list[np.ndarray], list[dict[str, np.ndarray]]]:
    """Weights before and after, and what the figure shows of them: on each side name → image."""
    before, after = weights(units, seed=1), weights(units, seed=2)
    figure = draw_weights(before, after, SHAPE, CLASSES).figures["figures/weights.png"]
    sides = [axes for axes in figure.axes if axes.get_title().endswith("training")]
    assert [axes.get_title() for axes in sides] == ["before training", "after training"]
    height, width = SHAPE
    shown: list[dict[str, np.ndarray]] = []
    for axes in sides:
        image = np.asarray(axes.images[0].get_array())
        shown.append({})
        for text in axes.texts:
            x, y = text.get_position()
            left, top = round(x - width / 2), round(y) + 1
            shown[-1][text.get_text()] = image[top : top + height, left : left + width]
    return before, after, shown


def test_softmax_regression_has_an_image_per_class() -> None:
    before, after, shown = tiles(0)
    for images, source in zip(shown, (before, after), strict=True):
        assert list(images) == list(CLASSES)
        for row, image in zip(source[0], images.values(), strict=True):
            np.testing.assert_array_equal(image, row.reshape(SHAPE))


@pytest.mark.parametrize("units", [2, SHOWN, 30])
def test_of_hidden_units_those_with_the_largest_outgoing_weights_are_shown(units: int) -> None:
    before, after, shown = tiles(units)
    largest = {unit: max(abs(weight) for weight in after[1][:, unit]) for unit in range(units)}
    best = sorted(largest, key=lambda unit: -largest[unit])[:SHOWN]
    for images, source in zip(shown, (before, after), strict=True):
        assert list(images) == [f"unit {unit}" for unit in best]
        for unit, image in zip(best, images.values(), strict=True):
            np.testing.assert_array_equal(image, source[0][unit].reshape(SHAPE))
