"""torchvision's networks with a small head of our own, for grey images."""

from collections import OrderedDict
from collections.abc import Mapping

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import interpolate

from trackml.fields import Backbone, Trained

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HIDDEN_UNITS = 256


class ImageNetInput(nn.Module):
    """Raw pixels, uint8 (N, H, W) → float32 (N, 3, size, size), standardised as for ImageNet."""

    mean: Tensor
    std: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        grey = pixels.unsqueeze(1).float() / 255  # (N, 1, H, W)
        grey = interpolate(grey, size=(self.size, self.size), mode="bilinear")
        x = (grey - self.mean) / self.std  # (N, 3, size, size)
        return x.contiguous(memory_format=torch.channels_last)


def bare_features(backbone: Backbone) -> nn.Sequential:
    """The convolutional part of a network of torchvision, without values in its weights."""
    with torch.device("meta"):
        features: nn.Sequential = getattr(torchvision.models, backbone)(weights=None).features
    return features


def transfer_network(
    backbone: Backbone,
    classes: int,
    *,
    image_size: int,
    dropout: float,
    weights: Mapping[str, Tensor] | None = None,
) -> nn.Sequential:
    """A backbone's convolutions in blocks that end with a pooling, the mean over places, a head.

    uint8 (N, H, W), raw pixels → float32 (N, classes), logits: see `with_probabilities`.

    Args:
        image_size: side to which images are resized, pixels.
        dropout: rate after the head's hidden layer.
        weights: of the convolutions, by their names in `bare_features`; None draws them at random
            (He et al., 2015).
    """
    features = bare_features(backbone).to_empty(device="cpu")
    if weights is None:
        for layer in features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # all of them have one
    else:
        features.load_state_dict(weights)
    layers: OrderedDict[str, nn.Module] = OrderedDict(prepare=ImageNetInput(image_size))
    layers |= {f"block{number}": block for number, block in enumerate(_blocks(features), start=1)}
    channels = [layer.out_channels for layer in features if isinstance(layer, nn.Conv2d)][-1]
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["dense"] = nn.Linear(channels, HIDDEN_UNITS)
    layers["relu"] = nn.ReLU(inplace=True)
    layers["dropout"] = nn.Dropout(dropout)
    layers["logits"] = nn.Linear(HIDDEN_UNITS, classes)
    return nn.Sequential(layers)


def _blocks(features: nn.Sequential) -> list[nn.Sequential]:
    blocks: list[list[nn.Module]] = [[]]
    for layer in features:
        blocks[-1].append(layer)
        if isinstance(layer, nn.MaxPool2d):
            blocks.append([])
    return [nn.Sequential(*block) for block in blocks if block]


def freeze(network: nn.Sequential, trained: Trained) -> tuple[nn.Sequential, nn.Sequential]:
    """Freeze what is not to be trained; return those layers, and the ones that follow.

    Both share the network's layers. For "all" the former are none.
    """
    names = [name for name, _ in network.named_children()]
    last_block = max(name for name in names if name.startswith("block"))
    first_trained = {"head": "dense", "last_block": last_block, "all": names[0]}[trained]
    split = names.index(first_trained)
    frozen, rest = network[:split], network[split:]
    frozen.requires_grad_(requires_grad=False)
    return frozen, rest
