import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipelines.expected import model_parameters
from trackml.fields import VARIANTS, Variant
from trackml.models.torch import Standardise, describe, mnist_cnn, with_probabilities

EXAMPLE = torch.zeros((2, 28, 28), dtype=torch.uint8)


@pytest.mark.parametrize("conv_layers", [2, 3])
def test_the_layers_are_those_of_the_documents(conv_layers: int) -> None:
    network = mnist_cnn(10, "dropout_batchnorm", conv_layers=conv_layers)
    kinds = [type(layer).__name__ for layer in network]
    block = ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "Dropout"]
    rest = ["Flatten", "Linear", "ReLU", "Dropout", "Linear"]
    assert kinds == ["Standardise", *block * conv_layers, *rest]
    convolutions = [layer for layer in network if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [16, 32, 64][:conv_layers]


@pytest.mark.parametrize("conv_layers", [2, 3])
def test_the_number_of_parameters_is_that_of_the_weights(conv_layers: int) -> None:
    parameters, summary = describe(mnist_cnn(10, conv_layers=conv_layers), EXAMPLE)
    assert parameters == model_parameters(conv_layers)
    assert summary.splitlines()[-1].split() == ["trainable", f"{parameters:,}"]
    assert "N x 16 x 28 x 28" in summary


def test_pixels_are_standardised_inside() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    expected = (np.arange(256) / 255 - 0.1307) / 0.3081
    answer = Standardise()(pixels)
    assert answer.shape == (1, 1, 16, 16)
    np.testing.assert_allclose(answer.numpy().ravel(), expected, atol=1e-6)


@settings(max_examples=20)
@given(st.integers(1, 9), st.integers(2, 3), st.sampled_from(VARIANTS))
def test_answers_are_probabilities_of_each_class(
    images: int, conv_layers: int, variant: Variant
) -> None:
    network = mnist_cnn(7, variant, conv_layers=conv_layers)
    pixels = torch.randint(256, (images, 28, 28), dtype=torch.uint8)
    with torch.inference_mode():
        answers = with_probabilities(network).eval()(pixels)
    assert answers.shape == (images, 7)
    torch.testing.assert_close(answers.sum(dim=1), torch.ones(images))
