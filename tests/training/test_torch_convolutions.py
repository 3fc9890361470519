"""Convolutions as matrix products, against PyTorch's own."""

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor, nn

from tests.training.examples import train
from trackml.data import ImageData
from trackml.models.torch import Standardize
from trackml.training.torch_convolutions import MOST_PIXELS, as_products


def outputs_and_gradients(layer: nn.Module, images: Tensor) -> list[Tensor]:
    images = images.detach().requires_grad_()
    outputs = layer(images)
    weighted = (outputs * torch.linspace(-1, 1, outputs.numel()).view(outputs.shape)).sum()
    wanted = [each for each in (images, *layer.parameters()) if each.requires_grad]
    return [outputs, *torch.autograd.grad(weighted, wanted)]


sides = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(
    kernel=sides,
    stride=sides,
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    size=st.tuples(st.integers(3, 7), st.integers(3, 7)),
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
    layer = nn.Conv2d(3, 5, kernel, stride, padding, bias=bias).requires_grad_(trained)
    images = torch.randn(4, 3, *size)
    if channels_last:
        layer = layer.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    expected = outputs_and_gradients(layer, images)
    with as_products(layer):
        torch.testing.assert_close(outputs_and_gradients(layer, images), expected)


def test_small_outputs_are_products_and_large_ones_convolutions() -> None:
    layer = nn.Conv2d(1, 2, 3, padding=1)

    def kind(side: int) -> str:
        return layer(torch.zeros(2, 1, side, side)).grad_fn.name()  # type: ignore[no-any-return]

    outside = kind(4)
    with as_products(layer):
        assert MOST_PIXELS == 4 * 4
        assert kind(4) != outside
        assert kind(5) == outside
    assert kind(4) == outside


def test_in_autocast_the_product_is_bfloat16() -> None:
    layer = nn.Conv2d(3, 4, 3, padding=1)
    with as_products(layer), torch.autocast("cpu", torch.bfloat16):
        outputs = layer(torch.randn(2, 3, 2, 2))
    assert outputs.dtype == torch.bfloat16
    outputs.float().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 4, 2, dilation=2),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        type("Own", (nn.Conv2d,), {"forward": lambda self, x: x})(4, 4, 3),
    ],
)
def test_other_convolutions_stay_as_they_are(layer: nn.Module) -> None:
    images = torch.randn(2, 4, 5, 5)
    expected = layer(images)
    with as_products(layer):
        assert torch.equal(layer(images), expected)


def test_an_error_leaves_the_network_as_it_was() -> None:
    layer = nn.Conv2d(1, 1, 3)
    with pytest.raises(ZeroDivisionError), as_products(layer):
        raise ZeroDivisionError
    assert "forward" not in vars(layer)


@pytest.mark.parametrize(
    ("precision", "has_tiles", "expected"),
    [("bfloat16", True, True), ("bfloat16", False, False), ("float32", True, False)],
)
def test_fit_multiplies_where_the_processor_does_so_in_tiles(
    precision: str,
    has_tiles: bool,
    expected: bool,
    blobs: ImageData,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": has_tiles})
    kinds: set[str] = set()

    class Probe(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            if images.grad_fn is not None:  # in a training step
                kinds.add(images.grad_fn.name())
            return images

    convolution = nn.Conv2d(1, 4, 3, stride=3, bias=False)  # to 3 x 3 pixels
    head = (nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))
    network = nn.Sequential(Standardize(), convolution, Probe(), *head)
    trained = train("torch", blobs, model=network, epochs=8, precision=precision)
    assert trained.history.best["val_accuracy"] > 0.5
    assert {"Product" in kind for kind in kinds} == {expected}
    assert "forward" not in vars(convolution)
