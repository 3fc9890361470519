"""The convolutional network in PyTorch, and how networks are described."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from tests.pipelines.expected import model_parameters
from trackml.models.torch import (
    BATCHES,
    InBatches,
    Standardize,
    batch_size,
    describe,
    mnist_cnn,
    with_probabilities,
)
from trackml.models.transfer import transfer_network

EXAMPLE = torch.zeros((2, 28, 28), dtype=torch.uint8)


@pytest.mark.parametrize("conv_layers", [2, 3])
@pytest.mark.parametrize(("dropout", "batch_norm"), [(0.0, False), (0.4, False), (0.4, True)])
def test_the_layers_are_those_of_the_documents(
    conv_layers: int, dropout: float, batch_norm: bool
) -> None:
    network = mnist_cnn(10, conv_layers=conv_layers, dropout=dropout, batch_norm=batch_norm)
    normalization, drop = ["BatchNorm2d"] * batch_norm, ["Dropout"] * bool(dropout)
    block = ["Conv2d", *normalization, "MaxPool2d", "ReLU", *drop]  # the last two for speed
    rest = ["Flatten", "Linear", "ReLU", *drop, "Linear"]
    kinds = [type(layer).__name__ for layer in network]
    assert kinds == ["Standardize", *block * conv_layers, *rest]
    convolutions = [layer for layer in network if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [16, 32, 64][:conv_layers]
    rates = [layer.p for layer in network if isinstance(layer, torch.nn.Dropout)]
    assert rates == ([dropout / 2] * conv_layers + [dropout] if dropout else [])


@pytest.mark.parametrize("batch_norm", [False, True])
def test_relu_after_pooling_is_exactly_relu_before_it(batch_norm: bool) -> None:
    torch.manual_seed(0)
    network = mnist_cnn(10, conv_layers=3, batch_norm=batch_norm)
    layers = dict(network.named_children())
    for number in (1, 2, 3):
        layers |= {f"pool{number}": torch.nn.ReLU(), f"relu{number}": torch.nn.MaxPool2d(2)}
    images = torch.randint(256, (20, 28, 28), dtype=torch.uint8)
    labels = torch.arange(20) % 10
    results = []
    for way in (network, torch.nn.Sequential(OrderedDict(layers))):
        outputs = way(images)
        loss = torch.nn.functional.cross_entropy(outputs, labels)
        results.append([outputs, *torch.autograd.grad(loss, list(network.parameters()))])
    assert all(map(torch.equal, *results))


@pytest.mark.parametrize("conv_layers", [2, 3])
def test_the_number_of_parameters_is_that_of_the_weights(conv_layers: int) -> None:
    parameters, summary = describe(mnist_cnn(10, conv_layers=conv_layers), EXAMPLE)
    assert parameters == model_parameters(conv_layers)
    assert summary.splitlines()[-1].split() == ["trainable", f"{parameters:,}"]
    assert "N x 16 x 28 x 28" in summary


def test_pixels_are_standardized_inside() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    expected = (np.arange(256) / 255 - 0.1307) / 0.3081
    output = Standardize()(pixels)
    assert output.shape == (1, 1, 16, 16)
    np.testing.assert_allclose(output.numpy().ravel(), expected, atol=1e-6)


@settings(max_examples=20)
@given(st.integers(1, 9), st.integers(2, 3), st.sampled_from([0.0, 0.3]), st.booleans())
def test_outputs_are_probabilities_of_each_class(
    images: int, conv_layers: int, dropout: float, batch_norm: bool
) -> None:
    network = mnist_cnn(7, conv_layers=conv_layers, dropout=dropout, batch_norm=batch_norm)
    pixels = torch.randint(256, (images, 28, 28), dtype=torch.uint8)
    with torch.inference_mode():
        outputs = with_probabilities(network).eval()(pixels)
    assert outputs.shape == (images, 7)
    torch.testing.assert_close(outputs.sum(dim=1), torch.ones(images))


def test_an_exported_program_answers_any_number_of_rows_as_the_network_does() -> None:
    torch.manual_seed(0)
    network = with_probabilities(mnist_cnn(10, batch_norm=True)).eval()
    batched = InBatches(network, EXAMPLE).eval()
    rows = BATCHES["cpu"][0]
    assert batched.batch_size == rows
    program = torch.export.export(batched, (EXAMPLE,), dynamic_shapes=[{0: torch.export.Dim.AUTO}])
    for count in (0, 1, 2, rows - 1, rows, rows + 1, 2 * rows, 2 * rows + 1, 1_000):
        pixels = torch.randint(256, (count, 28, 28), dtype=torch.uint8)
        with torch.inference_mode():
            torch.testing.assert_close(program.module()(pixels), network(pixels), atol=1e-5, rtol=0)


@pytest.mark.parametrize("most", [1, 2, 3, 7, 128])
def test_no_batch_has_more_rows_than_it_may(most: int) -> None:
    """But for a batch of two where it may have one: programs for a single row are others."""
    sizes: list[int] = []

    class Same(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            sizes.append(len(x))
            return x.float()

    batched = InBatches(Same(), torch.zeros(2, 1))
    batched.batch_size = most
    for count in (0, 1, 2, 3, most - 1, most, most + 1, 5 * most, 300):
        sizes.clear()
        rows = torch.arange(count).reshape(count, 1)
        assert torch.equal(batched(rows), rows.float())
        assert max(sizes, default=0) <= max(2, most)
        assert sum(sizes) <= 2 * max(1, count) + 2 * most


@pytest.mark.parametrize(("size", "rows"), [(32, 128), (224, 10)])
def test_batches_are_smaller_where_a_row_needs_more_memory(size: int, rows: int) -> None:
    network = transfer_network("vgg16", 10, image_size=size, dropout=0.0)
    assert batch_size(network, EXAMPLE) == rows


@pytest.mark.parametrize("shape", [(8, 10), (9, 12, 3)])
def test_images_may_have_any_size_and_colors(shape: tuple[int, ...]) -> None:
    images = torch.randint(0, 255, (3, *shape), dtype=torch.uint8)
    network = mnist_cnn(7, conv_layers=3, batch_norm=True, shape=shape).eval()
    assert network(images).shape == (3, 7)
    x = Standardize()(images)
    pixel = images[1, 2, 5].float().reshape(-1) / 255
    torch.testing.assert_close(x[1, :, 2, 5], (pixel - 0.1307) / 0.3081)
    with pytest.raises(ValueError, match=r"sides of at least 8 pixels. Received: \(7, 8\)"):
        mnist_cnn(7, conv_layers=3, shape=(7, 8))
