"""A small residual network in PyTorch, for images; its input is raw."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from trackml.backends import standard_settings
from trackml.models.summary import check_image_shape
from trackml.models.torch import Standardize


class ResidualBlock(nn.Module):
    """shortcut(x) + f(x), then a ReLU, at half the resolution (He et al., 2015).

    f is two convolutions with batch normalization, of which the first halves; the shortcut is the
    mean of 2 x 2 pixels, and a convolution of single pixels (He et al., 2018: ResNet-D).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True),
            nn.Conv2d(inputs, outputs, kernel_size=1, bias=False),
        )
        self.first = _convolution(inputs, outputs, stride=2)
        self.second = nn.Conv2d(outputs, outputs, kernel_size=3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        nn.init.zeros_(self.norm.weight)  # at first f(x) is 0 (Goyal et al., 2017)

    def forward(self, x: Tensor) -> Tensor:
        shortcut: Tensor = self.shortcut(x)
        change: Tensor = self.norm(self.second(self.first(x)))
        return (shortcut + change).relu()


@standard_settings()
def residual_network(
    classes: int,
    *,
    widths: Sequence[int] = (16, 32, 64, 128, 256),
    dropout: float = 0.0,
    shape: tuple[int, ...] = (28, 28),
) -> nn.Sequential:
    """A convolution, and residual blocks that halve the resolution each.

    uint8 (N, *shape), raw pixels → float32 (N, classes), logits: see `with_probabilities`.

    Args:
        widths: channels of the first convolution, and of each block.
        dropout: rate before the last layer.
        shape: of an image: (height, width), or (height, width, channels).

    Raises:
        ValueError: the images are too small for so many blocks.
    """
    check_image_shape(shape, len(widths) - 1)
    layers: OrderedDict[str, nn.Module] = OrderedDict(standardize=Standardize())
    layers["stem"] = _convolution((*shape, 1)[2], widths[0], kernel_size=5)
    for number, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        layers[f"block{number}"] = ResidualBlock(inputs, outputs)
    layers["mean"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    if dropout:
        layers["dropout"] = nn.Dropout(dropout)
    layers["logits"] = nn.Linear(widths[-1], classes)
    return nn.Sequential(layers)


def _convolution(
    inputs: int, outputs: int, *, kernel_size: int = 3, stride: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size, stride, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
