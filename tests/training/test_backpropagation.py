"""Gradients by hand against finite differences, and against PyTorch's."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings, strategies as st

from trackml.models import mlp
from trackml.models.mlp import Array, Layer, Network
from trackml.training.backpropagation import backpropagate, cross_entropy, targets_of

KINK = 1e-2  # distance of a ReLU's input from 0, which finite differences must not cross


@dataclass(frozen=True)
class Case:
    network: Network
    x: Array
    target: Array
    weight_decay: float
    label_smoothing: float
    row_weights: Array | None
    clip_norm: float = 0.0

    @property
    def y(self) -> Array:
        classes = len(self.network[-1].b)
        return targets_of(self.target, classes, self.label_smoothing, self.x.dtype)

    @property
    def gradients(self) -> list[Array]:
        _, gradients = backpropagate(
            self.network,
            self.x,
            self.y,
            self.weight_decay,
            row_weights=self.row_weights,
            clip_norm=self.clip_norm,
        )
        return flat(gradients)

    @property
    def is_saturated(self) -> bool:
        """True if each row has a class with all the probability that a float can express."""
        _, z = mlp.forward(self.network, self.x)
        best, second = np.sort(z, axis=1)[:, [-1, -2]].T
        return bool((best - second > 500).all())

    def loss(self) -> float:
        """As defined in the docstring of `backpropagate`."""
        _, z = mlp.forward(self.network, self.x)
        squares = sum(float(np.square(layer.W).sum()) for layer in self.network)
        losses = cross_entropy(z, self.y)
        if self.row_weights is not None:
            losses = losses * self.row_weights
        return float(losses.mean()) + self.weight_decay / 2 * squares


def flat(network: Network) -> list[Array]:
    return list(mlp.arrays(network).values())


@st.composite
def cases(draw: Callable[..., Any], dtype: str = "float64", scale: float = 1.0) -> Case:
    """Networks of up to three layers; scores are multiplied by `scale`."""
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
    network = tuple(Layer(layer.W.astype(dtype), layer.b.astype(dtype)) for layer in network)
    target = random.integers(sizes[-1], size=rows)
    return Case(
        network,
        x.astype(dtype),
        target,
        weight_decay=draw(st.sampled_from([0.0, 0.01])),
        # Saturated scores would have losses of thousands for the other classes.
        label_smoothing=draw(st.sampled_from([0.0, 0.2])) if scale == 1 else 0.0,
        row_weights=draw(st.sampled_from([None, random.uniform(0, 3, rows).astype(dtype)])),
    )


def finite_differences(case: Case, step: float) -> list[Array]:
    """(loss(w + step) - loss(w - step)) / (2 step), for each weight."""
    slopes = [np.empty_like(array) for array in flat(case.network)]
    for array, slope in zip(flat(case.network), slopes, strict=True):
        for index in np.ndindex(array.shape):
            weight = array[index]
            array[index] = weight + step
            above = case.loss()
            array[index] = weight - step
            slope[index] = (above - case.loss()) / (2 * step)
            array[index] = weight
    return slopes


def relative_error(ours: list[Array], theirs: list[Array], *, min_size: float) -> float:
    """The maximum over all W and b of |ours - theirs| / (|ours| + |theirs|).

    The denominator is at least `min_size`, because rounding errors do not shrink with gradients.
    """
    return max(
        float(np.linalg.norm(one - other))
        / max(float(np.linalg.norm(one) + np.linalg.norm(other)), min_size)
        for one, other in zip(ours, theirs, strict=True)
    )


def of_torch(case: Case) -> list[Array]:
    weights = [torch.tensor(array, requires_grad=True) for array in flat(case.network)]
    z = torch.tensor(case.x)
    for number in range(0, len(weights), 2):
        z = torch.nn.functional.linear(z.relu() if number else z, *weights[number : number + 2])
    losses = torch.nn.functional.cross_entropy(
        z, torch.tensor(case.target), label_smoothing=case.label_smoothing, reduction="none"
    )
    weights_of_rows = 1.0 if case.row_weights is None else torch.tensor(case.row_weights)
    loss = (losses * weights_of_rows).mean()
    for W in weights[::2]:  # noqa: N806
        loss = loss + case.weight_decay / 2 * W.square().sum()
    return [gradient.numpy() for gradient in torch.autograd.grad(loss, weights)]


# Saturated, the loss is linear, so steps may be long; and they must be, because rounding leaves
# 1e-12 of a loss of 10,000.
@pytest.mark.parametrize(("scale", "step", "min_size"), [(1.0, 1e-6, 1e-3), (1e4, 1e-4, 1.0)])
@given(data=st.data())
@settings(max_examples=150)
def test_gradients_equal_finite_differences(
    scale: float, step: float, min_size: float, data: st.DataObject
) -> None:
    case = data.draw(cases(scale=scale))
    if scale > 1:
        case = replace(case, weight_decay=0.0)
        assume(case.is_saturated)
    differences = finite_differences(case, step)
    # A difference of two losses has the rounding errors of both, whatever the gradient.
    rounding = 4 * np.finfo(np.float64).eps * case.loss() / step
    size = max(min_size, rounding / 1e-6)
    assert relative_error(case.gradients, differences, min_size=size) < 1e-6


@pytest.mark.parametrize(
    ("dtype", "min_size", "error"), [("float64", 1e-6, 1e-9), ("float32", 0.5, 1e-5)]
)
@given(data=st.data())
@settings(max_examples=150)
def test_gradients_equal_those_of_torch(
    dtype: str, min_size: float, error: float, data: st.DataObject
) -> None:
    case = data.draw(cases(dtype))
    assert {gradient.dtype for gradient in case.gradients} == {np.dtype(dtype)}
    assert relative_error(case.gradients, of_torch(case), min_size=min_size) < error


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(data=st.data())
@settings(max_examples=100)
def test_saturated_scores_give_correct_gradients_too(dtype: str, data: st.DataObject) -> None:
    case = data.draw(cases(dtype, scale=1e4))
    # A product of finite, small numbers has been reported as "invalid" twice, and not again in
    # 80,000 tries. A NaN that it would announce is looked for below.
    with np.errstate(over="raise", divide="raise", invalid="ignore"):
        _, z = mlp.forward(case.network, case.x)
        assert np.isfinite(cross_entropy(z, case.y)).all()
        gradients = case.gradients
        assert all(np.isfinite(gradient).all() for gradient in gradients)
        assume(case.is_saturated)  # else a score's last digit decides between two classes
    assert relative_error(gradients, of_torch(case), min_size=0.5) < 1e-5


def test_scores_of_10000_do_not_overflow() -> None:
    z = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [1e4, 1e4, -1e4]], np.float32)
    target = np.array([1, 2, 0])
    with np.errstate(all="raise", under="ignore"):
        p, losses = mlp.softmax(z), cross_entropy(z, targets_of(target, 3))
    expected = np.array([[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0]])
    np.testing.assert_allclose(p, expected, rtol=1e-6)
    np.testing.assert_allclose(losses, [2e4, np.log(3), np.log(2)], rtol=1e-6)


@given(case=cases())
@settings(max_examples=30)
def test_gradients_are_clipped_without_those_of_the_penalty(case: Case) -> None:
    gradients = replace(case, weight_decay=0.0).gradients
    norm = float(np.sqrt(sum(np.square(each).sum() for each in gradients)))
    assume(norm > 0)
    clipped = replace(case, weight_decay=0.5, clip_norm=norm / 4).gradients
    for ours, whole, w in zip(clipped, gradients, flat(case.network), strict=True):
        np.testing.assert_allclose(ours, whole / 4 + 0.5 * w * (w.ndim == 2))
