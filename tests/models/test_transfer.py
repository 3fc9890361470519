"""torchvision's backbones with our input and our head."""

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torchvision.transforms import v2

from pipelines.transfer import MIN_SIZES, SIZES, Backbone
from trackml.models.torch import describe
from trackml.models.transfer import ImageNetInput, freeze, transfer_network

EXAMPLE = torch.zeros((2, 28, 28), dtype=torch.uint8)
HEAD = {"alexnet": (256 + 1) * 256 + 257 * 10, "vgg16": (512 + 1) * 256 + 257 * 10}
CONVOLUTIONS = {"alexnet": 2_469_696, "vgg16": 14_714_688}  # as in torchvision's own


def network(backbone: Backbone, image_size: int = 0) -> nn.Sequential:
    return transfer_network(
        backbone, 10, image_size=image_size or SIZES[backbone], dropout=0.3, weights=None
    )


@pytest.mark.parametrize("backbone", SIZES)
def test_the_parameters_are_those_of_the_backbone_and_of_a_small_head(backbone: Backbone) -> None:
    parameters, summary = describe(network(backbone), EXAMPLE)
    assert parameters == CONVOLUTIONS[backbone] + HEAD[backbone]
    size = SIZES[backbone]
    assert f"N x 3 x {size} x {size}" in summary
    assert summary.count("Conv2d") == {"alexnet": 5, "vgg16": 13}[backbone]


@pytest.mark.parametrize("backbone", MIN_SIZES)
def test_the_smallest_size_is_the_smallest_that_works(backbone: Backbone) -> None:
    smallest = MIN_SIZES[backbone]
    with torch.inference_mode():
        assert network(backbone, smallest).eval()(EXAMPLE).shape == (2, 10)
        with pytest.raises(RuntimeError):
            network(backbone, smallest - 1).eval()(EXAMPLE)


@pytest.mark.parametrize("size", [32, 64, 100])
def test_the_input_is_prepared_as_by_torchvision(size: int) -> None:
    pixels = torch.randint(256, (3, 28, 28), dtype=torch.uint8)
    theirs = v2.Compose(
        [
            v2.Grayscale(num_output_channels=3),
            v2.ToDtype(torch.float32, scale=True),
            v2.Resize((size, size), antialias=False),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    expected = torch.stack([theirs(image.unsqueeze(0)) for image in pixels])
    torch.testing.assert_close(ImageNetInput(size)(pixels), expected, atol=1e-5, rtol=1e-5)


def test_with_given_weights_the_convolutions_are_those_of_torchvision() -> None:
    features = torchvision.models.vgg16(weights=None, num_classes=2).features.eval()
    weights = features.state_dict()
    ours = transfer_network("vgg16", 10, image_size=32, dropout=0.3, weights=weights).eval()
    pixels = torch.randint(256, (2, 28, 28), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(ours[:6](pixels), features(ours[0](pixels)))


@pytest.mark.parametrize(
    ("trained", "free"),
    [
        ("head", HEAD["vgg16"]),
        ("last_block", HEAD["vgg16"] + 3 * (512 * 9 + 1) * 512),
        ("all", HEAD["vgg16"] + CONVOLUTIONS["vgg16"]),
    ],
)
def test_the_layers_that_are_not_trained_are_frozen(trained: str, free: int) -> None:
    whole = network("vgg16")
    frozen, rest = freeze(whole, trained)
    assert describe(whole, EXAMPLE)[0] == free
    assert all(weight.requires_grad for weight in rest.parameters())
    assert not any(weight.requires_grad for weight in frozen.parameters())
    pixels = torch.randint(256, (2, 28, 28), dtype=torch.uint8)
    with torch.inference_mode():
        whole.eval()
        torch.testing.assert_close(rest(frozen(pixels)), whole(pixels))


def test_random_weights_preserve_the_scale_of_activations() -> None:
    """Otherwise thirteen layers without normalization would not learn."""
    torch.manual_seed(0)
    whole = network("vgg16").eval()
    pixels = torch.tensor(np.random.default_rng(0).integers(256, size=(8, 28, 28), dtype=np.uint8))
    with torch.inference_mode():
        first = whole[:2](pixels).std()
        last = whole[:6](pixels).std()
    assert 0.1 < last / first < 10
