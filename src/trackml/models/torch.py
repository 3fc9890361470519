"""PyTorch architectures. Preprocessing is part of them: their input is raw."""

from collections import OrderedDict
from functools import partial

import torch
from torch import Tensor, nn

from trackml.backends import standard_settings
from trackml.models.summary import LayerRow, table

MNIST_MEAN, MNIST_STD = 0.1307, 0.3081  # of the training pixels, black 0 to white 1


class Standardize(nn.Module):
    """Raw pixels, uint8 (N, H, W) → float32 (N, 1, H, W) of mean 0 and standard deviation 1."""

    def forward(self, pixels: Tensor) -> Tensor:
        x = (pixels.unsqueeze(1).float() / 255 - MNIST_MEAN) / MNIST_STD
        return x.contiguous(memory_format=torch.channels_last)


@standard_settings()
def mnist_cnn(
    classes: int, *, conv_layers: int = 2, dropout: float = 0.0, batch_norm: bool = False
) -> nn.Sequential:
    """Convolutions and a dense layer, for gray images of 28 x 28.

    uint8 (N, 28, 28), raw pixels → float32 (N, classes), logits: see `with_probabilities`.

    Args:
        conv_layers: blocks of a convolution, of 16, 32 and 64 channels, and a pooling each.
        dropout: rate after the dense layer, half of it after each pooling; 0 adds no such layers.
        batch_norm: normalize each convolution's output over the batch.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(standardize=Standardize())
    side, channels = 28, 1
    for number, width in enumerate((16, 32, 64)[:conv_layers], start=1):
        layers[f"conv{number}"] = nn.Conv2d(channels, width, kernel_size=3, padding=1)
        if batch_norm:
            layers[f"norm{number}"] = nn.BatchNorm2d(width)
        # In place: at this size the time of a layer is that of memory access.
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
        layers[f"pool{number}"] = nn.MaxPool2d(2)
        if dropout:
            layers[f"dropout{number}"] = nn.Dropout(dropout / 2)
        side, channels = side // 2, width
    layers["flatten"] = nn.Flatten()
    layers["dense"] = nn.Linear(channels * side**2, 128)
    layers["relu"] = nn.ReLU(inplace=True)
    if dropout:
        layers["dropout"] = nn.Dropout(dropout)
    layers["logits"] = nn.Linear(128, classes)
    return nn.Sequential(layers)


def with_probabilities(network: nn.Module) -> nn.Sequential:
    """The same network, shared, with class probabilities, float32 (N, classes), as its output."""
    return nn.Sequential(OrderedDict(network=network, softmax=nn.Softmax(dim=1)))


def describe(network: nn.Module, example: Tensor) -> tuple[int, str]:
    """The number of trainable parameters, and a table of the layers.

    Args:
        network: is in evaluation mode afterwards.
        example: an input (N, ...), to find the shapes of outputs.
    """
    rows: list[LayerRow] = []

    def add_row(name: str, layer: nn.Module, _inputs: object, output: object) -> None:
        shape = ""
        if isinstance(output, Tensor):
            # Some layers of a detector have an output per region, not per image.
            count = "N" if len(output) == len(example) else "regions"
            shape = " x ".join([count, *map(str, output.shape[1:])])
        parameters = sum(weight.numel() for weight in layer.parameters())
        rows.append(LayerRow(name, type(layer).__name__, shape, parameters))

    hooks = [
        layer.register_forward_hook(partial(add_row, name))
        for name, layer in network.named_modules()
        if not list(layer.children())
    ]
    with torch.no_grad():
        network.eval()(example)
    for hook in hooks:
        hook.remove()
    trainable = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    return trainable, table(rows, trainable)
