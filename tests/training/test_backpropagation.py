"""Gradients by hand against finite differences, and against PyTorch's."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trackml.models import mlp
from trackml.models.mlp import Array, Layer, Network
from trackml.training.backpropagation import backpropagate, cross_entropy

KINK = 1e-2  # how far from 0 a ReLU's input must be: finite differences look to both sides


@dataclass(frozen=True)
class Case:
    network: Network
    x: Array
    target: Array
    weight_decay: float

    @property
    def gradients(self) -> list[Array]:
        _, gradients = backpropagate(self.network, self.x, self.target, self.weight_decay)
        return flat(gradients)

    @property
    def is_saturated(self) -> bool:
        """Whether each row has a class with all the probability that a float can express."""
        _, z = mlp.forward(self.network, self.x)
        best, second = np.sort(z, axis=1)[:, [-1, -2]].T
        return bool((best - second > 500).all())

    def loss(self) -> float:
        """As the docstring of `backpropagate` has it."""
        _, z = mlp.forward(self.network, self.x)
        squares = sum(float(np.square(layer.W).sum()) for layer in self.network)
        return float(cross_entropy(z, self.target).mean()) + self.weight_decay / 2 * squares


def flat(network: Network) -> list[Array]:
    return list(mlp.arrays(network).values())


@st.composite
def cases(
    draw: Callable[..., Any],
    dtype: str = "float64",
    scale: float = 1.0,
    penalties: tuple[float, ...] = (0.0, 0.01),
) -> Case:
    """Networks of up to three layers. Scale multiplies the scores."""
    width = st.integers(1, 7)
    sizes = [draw(width), *draw(st.lists(width, max_size=2)), draw(st.integers(2, 6))]
    rows = draw(st.sampled_from([1, 1, 2, 9]))
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    for _ in range(1000):
        network = tuple(
            Layer(random.normal(size=(after, before)), random.normal(size=after))
            for before, after in pairwise(sizes)
        )
        x = random.normal(size=(rows, sizes[0]))
        hidden, _ = mlp.forward(network, x)
        inputs = [h @ layer.W.T + layer.b for h, layer in zip(hidden, network[:-1], strict=False)]
        if all((np.abs(z) > KINK).all() for z in inputs):
            break
    last = network[-1]
    network = (*network[:-1], Layer(scale * last.W, scale * last.b))
    return Case(
        tuple(Layer(layer.W.astype(dtype), layer.b.astype(dtype)) for layer in network),
        x.astype(dtype),
        random.integers(sizes[-1], size=rows),
        draw(st.sampled_from(penalties)),
    )


def finite_differences(case: Case, step: float) -> list[Array]:
    """(loss(w + step) - loss(w - step)) / (2 step), for each weight."""
    slopes = [np.empty_like(array) for array in flat(case.network)]
    for array, found in zip(flat(case.network), slopes, strict=True):
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + step
            above = case.loss()
            array[index] = kept - step
            below = case.loss()
            array[index] = kept
            found[index] = (above - below) / (2 * step)
    return slopes


def relative_error(ours: list[Array], theirs: list[Array], *, least: float) -> float:
    """The largest of any W or b: |ours - theirs| / (|ours| + |theirs|).

    Args:
        least: a gradient that is smaller than this counts as if it had this size, as what rounding
            leaves is not small in comparison.
    """
    errors = []
    for mine, other in zip(ours, theirs, strict=True):
        size = float(np.linalg.norm(mine) + np.linalg.norm(other))
        errors.append(float(np.linalg.norm(mine - other)) / max(size, least))
    return max(errors)


def of_torch(case: Case) -> list[Array]:
    weights = [
        torch.tensor(array, requires_grad=True) for array in mlp.arrays(case.network).values()
    ]
    z = torch.tensor(case.x)
    for number in range(0, len(weights), 2):
        z = torch.nn.functional.linear(z.relu() if number else z, *weights[number : number + 2])
    loss = torch.nn.functional.cross_entropy(z, torch.tensor(case.target))
    for W in weights[::2]:  # noqa: N806
        loss = loss + case.weight_decay / 2 * W.square().sum()
    return [gradient.numpy() for gradient in torch.autograd.grad(loss, weights)]


@given(cases())
@settings(max_examples=150)
def test_gradients_equal_finite_differences(case: Case) -> None:
    assert relative_error(case.gradients, finite_differences(case, 1e-6), least=1e-3) < 1e-6


@given(cases())
@settings(max_examples=150)
def test_gradients_equal_those_of_torch(case: Case) -> None:
    assert relative_error(case.gradients, of_torch(case), least=1e-6) < 1e-9


@given(cases(dtype="float32"))
@settings(max_examples=150)
def test_gradients_in_float32_equal_those_of_torch(case: Case) -> None:
    assert {gradient.dtype for gradient in case.gradients} == {np.dtype("float32")}
    assert relative_error(case.gradients, of_torch(case), least=0.5) < 1e-5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(data=st.data())
@settings(max_examples=100)
def test_saturated_scores_give_gradients_that_are_right_too(
    dtype: str, data: st.DataObject
) -> None:
    case = data.draw(cases(dtype=dtype, scale=1e4))
    _, z = mlp.forward(case.network, case.x)
    # Not "invalid": a product of finite, small numbers has raised it once in a whole suite, and not
    # again in 80,000 tries. What it would tell, a nan, is looked for below.
    with np.errstate(over="raise", divide="raise"):
        assert np.isfinite(cross_entropy(z, case.target)).all()
        gradients = case.gradients
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assume(case.is_saturated)  # else a score's last digit decides between two classes
    assert relative_error(gradients, of_torch(case), least=0.5) < 1e-5


def test_scores_of_10000_overflow_nowhere() -> None:
    z = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [1e4, 1e4, -1e4]], np.float32)
    target = np.array([1, 2, 0])
    with np.errstate(all="raise", under="ignore"):
        p, losses = mlp.softmax(z), cross_entropy(z, target)
    expected = np.array([[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0]])
    np.testing.assert_allclose(p, expected, rtol=1e-6)
    np.testing.assert_allclose(losses, [2e4, np.log(3), np.log(2)], rtol=1e-6)


@given(cases(scale=1e4, penalties=(0.0,)))
@settings(max_examples=50)
def test_saturated_gradients_equal_finite_differences(case: Case) -> None:
    # The loss is linear there, so that steps may be long; and must be: what rounding leaves of a
    # loss of 10,000 is 1e-12.
    assume(case.is_saturated)
    assert relative_error(case.gradients, finite_differences(case, 1e-4), least=1) < 1e-6


def test_gradients_are_means_over_the_batch() -> None:
    random = np.random.default_rng(0)
    network = (Layer(random.normal(size=(3, 4)), random.normal(size=3)),)
    x, target = random.normal(size=(5, 4)), np.array([0, 1, 2, 1, 0])
    _, whole = backpropagate(network, x, target)
    each = [flat(backpropagate(network, x[[n]], target[[n]])[1]) for n in range(5)]
    for together, alone in zip(flat(whole), zip(*each, strict=True), strict=True):
        np.testing.assert_allclose(together, np.mean(alone, axis=0))
