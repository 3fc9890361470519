"""PyTorch architectures. Preprocessing lives inside them: they take what a user has, raw."""

from collections import OrderedDict
from functools import partial

import torch
from torch import Tensor, nn

from trackml.fields import Variant
from trackml.models.summary import Layer, table

MNIST_MEAN, MNIST_STD = 0.1307, 0.3081  # of the training pixels, black 0 to white 1


class Standardise(nn.Module):
    """Raw pixels, uint8 (N, H, W) → float32 (N, 1, H, W) of mean 0 and standard deviation 1."""

    def forward(self, pixels: Tensor) -> Tensor:
        x = (pixels.unsqueeze(1).float() / 255 - MNIST_MEAN) / MNIST_STD
        return x.contiguous(memory_format=torch.channels_last)


def mnist_cnn(
    classes: int, variant: Variant = "plain", *, conv_layers: int = 2, dropout: float = 0.3
) -> nn.Sequential:
    """Convolutions and a dense layer, for grey images of 28 x 28.

    uint8 (N, 28, 28), raw pixels → float32 (N, classes), logits: see `with_probabilities`.

    Args:
        variant: what is added: dropout, normalisation of each convolution's output over the batch,
            both, or nothing.
        conv_layers: blocks of a convolution, of 16, 32 and 64 channels, and a pooling each.
        dropout: rate after the dense layer; half of it after each pooling.
    """
    drops_out, normalises = "dropout" in variant, "batchnorm" in variant
    layers: OrderedDict[str, nn.Module] = OrderedDict(standardise=Standardise())
    side, channels = 28, 1
    for number, width in enumerate((16, 32, 64)[:conv_layers], start=1):
        layers[f"conv{number}"] = nn.Conv2d(channels, width, kernel_size=3, padding=1)
        if normalises:
            layers[f"norm{number}"] = nn.BatchNorm2d(width)
        # In place: at this size a layer's time is that of fetching memory.
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
        layers[f"pool{number}"] = nn.MaxPool2d(2)
        if drops_out:
            layers[f"dropout{number}"] = nn.Dropout(dropout / 2)
        side, channels = side // 2, width
    layers["flatten"] = nn.Flatten()
    layers["dense"] = nn.Linear(channels * side**2, 128)
    layers["relu"] = nn.ReLU(inplace=True)
    if drops_out:
        layers["dropout"] = nn.Dropout(dropout)
    layers["logits"] = nn.Linear(128, classes)
    return nn.Sequential(layers)


def with_probabilities(network: nn.Module) -> nn.Sequential:
    """The same network, which it shares, answering float32 (N, classes), class probabilities."""
    return nn.Sequential(OrderedDict(network=network, softmax=nn.Softmax(dim=1)))


def describe(network: nn.Module, example: Tensor) -> tuple[int, str]:
    """The number of trainable parameters, and a table of the layers. It ends in evaluation mode.

    Args:
        example: an input (N, ...), from which the shapes of outputs are found.
    """
    layers: list[Layer] = []

    def note(name: str, layer: nn.Module, _inputs: object, output: object) -> None:
        shape = ""
        if isinstance(output, Tensor):
            # Layers that look at regions of images have a row per region.
            rows = "N" if len(output) == len(example) else "regions"
            shape = " x ".join([rows, *map(str, output.shape[1:])])
        parameters = sum(weight.numel() for weight in layer.parameters())
        layers.append(Layer(name, type(layer).__name__, shape, parameters))

    hooks = [
        layer.register_forward_hook(partial(note, name))
        for name, layer in network.named_modules()
        if not list(layer.children())
    ]
    with torch.no_grad():
        network.eval()(example)
    for hook in hooks:
        hook.remove()
    trainable = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    return trainable, table(layers, trainable)
