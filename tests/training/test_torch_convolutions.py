"""Convolutions as matrix products, against PyTorch's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor, nn

from tests.training.examples import train
from trackml.data import ImageData
from trackml.models.torch import Standardize
from trackml.training import torch_convolutions
from trackml.training.torch_convolutions import as_products


@contextmanager
def products(network: nn.Module, min_weights: int = 0) -> Iterator[None]:
    """Under autocast, as in `fit`; of small layers too."""
    with (
        patch.object(torch_convolutions, "MIN_WEIGHTS", min_weights),
        as_products(network),
        torch.autocast("cpu", torch.bfloat16),
    ):
        yield


def whole_numbers(*shape: int) -> Tensor:
    """Of -1 to 1: their sums are exact in bfloat16, up to 256."""
    return torch.randint(-1, 2, shape).float()


def outputs_and_gradients(layer: nn.Module, images: Tensor) -> list[Tensor]:
    images = images.detach().requires_grad_()
    outputs = layer(images)
    torch.manual_seed(1)
    trained = [each for each in (images, *layer.parameters()) if each.requires_grad]
    gradients = torch.autograd.grad(outputs, trained, whole_numbers(*outputs.shape))
    return [outputs.detach(), *gradients]


sides = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(
    kernel=sides,
    stride=sides,
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    size=st.tuples(st.integers(3, 4), st.integers(3, 4)),
    bias=st.booleans(),
    channels_last=st.booleans(),
    trained=st.booleans(),
)
def test_outputs_and_gradients_are_those_of_the_convolution(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    size: tuple[int, int],
    bias: bool,
    channels_last: bool,
    trained: bool,
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 5, kernel, stride, padding, bias=bias)
    for weight in layer.parameters():
        weight.data = whole_numbers(*weight.shape)
        weight.requires_grad_(trained)
    images = whole_numbers(4, 3, *size)
    if channels_last:
        layer = layer.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    expected = outputs_and_gradients(layer, images)
    with products(layer):
        values = outputs_and_gradients(layer, images)
    assert [each.dtype for each in values[1:]] == [torch.float32] * len(expected[1:])
    if channels_last:
        assert values[0].is_contiguous(memory_format=torch.channels_last)
    for value, of_layer in zip(values, expected, strict=True):
        assert torch.equal(value.float(), of_layer)


def test_gradients_are_as_near_to_float32_as_those_of_the_convolution() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(128, 64, 3, padding=1)
    images = torch.randn(16, 128, 4, 4)
    exact = outputs_and_gradients(layer, images)

    def errors() -> list[float]:
        values = outputs_and_gradients(layer, images)
        pairs = zip(values, exact, strict=True)
        return [float((value - right).norm() / right.norm()) for value, right in pairs]

    with torch.autocast("cpu", torch.bfloat16):
        of_convolution = errors()
    with products(layer):
        of_product = errors()
    for product, convolution in zip(of_product, of_convolution, strict=True):
        assert product < max(2 * convolution, 1e-5)


def is_product(outputs: Tensor) -> bool:
    names, nodes = set(), [outputs.grad_fn]
    while nodes:
        if (node := nodes.pop()) is not None:
            names.add(node.name())
            nodes += [following for following, _ in node.next_functions]
    return "_ProductBackward" in names


@pytest.mark.parametrize(
    ("channels", "side", "expected"), [(64, 4, True), (64, 5, False), (16, 4, False)]
)
def test_only_large_layers_with_few_pixels_are_products_and_only_in_the_context(
    channels: int, side: int, expected: bool
) -> None:
    layer = nn.Conv2d(channels, channels, 3, padding=1)
    images = torch.zeros(2, channels, side, side)
    with products(layer, torch_convolutions.MIN_WEIGHTS):
        assert is_product(layer(images)) is expected
    with as_products(layer):
        assert not is_product(layer(images))
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_product(layer(images))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 4, 2, dilation=2),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        type("Own", (nn.Conv2d,), {"forward": nn.Conv2d.forward})(4, 4, 3),
    ],
)
def test_other_convolutions_stay_as_they_are(layer: nn.Module) -> None:
    with products(layer):
        assert not is_product(layer(torch.randn(2, 4, 4, 4)))


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(4, 3, 3),  # one image
        torch.zeros(0, 4, 3, 3),
        torch.zeros(2, 5, 3, 3),  # of too many channels
        torch.zeros(2, 4, 1, 1),  # smaller than the kernel
        torch.zeros(2, 4, 3, 3, dtype=torch.float64),
        torch.zeros(2, 4, 3, 3, dtype=torch.uint8),
    ],
)
def test_what_else_a_convolution_gets_is_answered_or_refused_as_before(images: Tensor) -> None:
    layer = nn.Conv2d(4, 4, 3)

    def answer() -> Any:
        try:
            outputs = layer(input=images)
        except RuntimeError as error:
            return str(error)
        return outputs.shape, outputs.dtype

    with torch.autocast("cpu", torch.bfloat16):
        expected = answer()
    with products(layer):
        assert answer() == expected


def test_an_output_may_be_changed_in_place() -> None:
    layer = nn.Conv2d(4, 4, 3, bias=False)
    with products(layer):
        outputs = layer(torch.ones(2, 4, 3, 3))
        outputs += 1
        nn.ReLU(inplace=True)(outputs).sum().backward()
    assert layer.weight.grad is not None


def test_an_error_leaves_the_network_as_it_was() -> None:
    layer = nn.Conv2d(1, 1, 3)
    with pytest.raises(ZeroDivisionError), products(layer):
        raise ZeroDivisionError
    assert "forward" not in vars(layer)


@pytest.mark.parametrize(
    ("precision", "has_amx", "expected"),
    [("bfloat16", True, True), ("bfloat16", False, False), ("float32", True, False)],
)
def test_fit_multiplies_where_the_processor_has_amx(
    precision: str,
    has_amx: bool,
    expected: bool,
    blobs: ImageData,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch_convolutions, "cpu_has_amx", lambda: has_amx)
    monkeypatch.setattr(torch_convolutions, "MIN_WEIGHTS", 0)
    in_training: set[bool] = set()

    class Probe(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            if images.requires_grad:
                in_training.add(is_product(images))
            return images

    convolution = nn.Conv2d(1, 4, 3, stride=3, bias=False)  # to 3 x 3 pixels
    head = (nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(36, 3))
    network = nn.Sequential(Standardize(), convolution, Probe(), *head)
    trained = train("torch", blobs, model=network, epochs=8, precision=precision)
    assert trained.history.best["val_accuracy"] > 0.5
    assert in_training == {expected}
    assert "forward" not in vars(convolution)
