"""Networks of torchvision with a small head of our own, for gray images."""

from collections import OrderedDict
from collections.abc import Mapping

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import interpolate

from trackml.backends import standard_settings

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HIDDEN_UNITS = 256


class ImageNetInput(nn.Module):
    """Raw pixels, uint8 (N, H, W) → float32 (N, 3, size, size), standardized as for ImageNet."""

    mean: Tensor
    std: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        gray = pixels.unsqueeze(1).float() / 255  # (N, 1, H, W)
        gray = interpolate(gray, size=(self.size, self.size), mode="bilinear")
        x = (gray - self.mean) / self.std  # (N, 3, size, size)
        return x.contiguous(memory_format=torch.channels_last)


def bare_features(backbone: str) -> nn.Sequential:
    """The convolutional part of a network of torchvision, with uninitialized weights."""
    with torch.device("meta"):
        features: nn.Sequential = getattr(torchvision.models, backbone)(weights=None).features
    return features


@standard_settings()
def transfer_network(
    backbone: str,
    classes: int,
    *,
    image_size: int,
    dropout: float,
    weights: Mapping[str, Tensor] | None = None,
) -> nn.Sequential:
    """A backbone's convolutions in blocks that end with a pooling, a global mean, and a head.

    uint8 (N, H, W), raw pixels → float32 (N, classes), logits: see `with_probabilities`.

    Args:
        backbone: "alexnet" or "vgg16".
        image_size: side to which images are resized, pixels.
        dropout: rate after the head's hidden layer.
        weights: of the convolutions, by their names in `bare_features`; None draws them at random
            (He et al., 2015).
    """
    features = bare_features(backbone).to_empty(device="cpu")
    convolutions = [layer for layer in features if isinstance(layer, nn.Conv2d)]
    if weights is None:
        for each in convolutions:
            nn.init.kaiming_normal_(each.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(each.bias)  # type: ignore[arg-type]  # all of them have one
    else:
        features.load_state_dict(weights)
    layers: OrderedDict[str, nn.Module] = OrderedDict(prepare=ImageNetInput(image_size))
    block: list[nn.Module] = []
    for layer in features:
        block.append(layer)
        if isinstance(layer, nn.MaxPool2d):
            layers[f"block{len(layers)}"] = nn.Sequential(*block)
            block = []
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["dense"] = nn.Linear(convolutions[-1].out_channels, HIDDEN_UNITS)
    layers["relu"] = nn.ReLU(inplace=True)
    layers["dropout"] = nn.Dropout(dropout)
    layers["logits"] = nn.Linear(HIDDEN_UNITS, classes)
    return nn.Sequential(layers)


def freeze(network: nn.Sequential, trained: str) -> tuple[nn.Sequential, nn.Sequential]:
    """Freeze the layers that are not to be trained; return them, and the layers that follow.

    Args:
        network: shares its layers with both results.
        trained: "head", "last_block", or "all", which freezes none.
    """
    names = [name for name, _ in network.named_children()]
    last_block = max(name for name in names if name.startswith("block"))
    first_trained = {"head": "dense", "last_block": last_block, "all": names[0]}[trained]
    split = names.index(first_trained)
    frozen, rest = network[:split], network[split:]
    frozen.requires_grad_(requires_grad=False)
    return frozen, rest
