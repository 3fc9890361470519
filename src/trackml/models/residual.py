"""A small residual network in PyTorch, for images; its input is raw."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from trackml.backends import standard_settings
from trackml.models.summary import check_image_shape
from trackml.models.torch import Standardize


class ResidualBlock(nn.Module):
    """x + f(x), then a ReLU; f is two convolutions with batch normalization (He et al., 2015)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)  # at first a block changes nothing (Goyal et al., 2017)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.norm(self.second(self.first(x)))
        return (x + change).relu()


@standard_settings()
def residual_network(
    classes: int,
    *,
    widths: Sequence[int] = (64, 128),
    blocks: Sequence[int] = (1, 2),
    dropout: float = 0.0,
    shape: tuple[int, ...] = (28, 28),
) -> nn.Sequential:
    """A convolution and stages of residual blocks, each at half the resolution of the one before.

    uint8 (N, *shape), raw pixels → float32 (N, classes), logits: see `with_probabilities`.

    Args:
        widths: channels of each stage; the first convolution has half of the first.
        blocks: residual blocks of each stage.
        dropout: rate before the last layer.
        shape: of an image: (height, width), or (height, width, channels).

    Raises:
        ValueError: the images are too small for so many stages.
    """
    check_image_shape(shape, len(widths))
    channels, stem = (*shape, 1)[2], widths[0] // 2
    layers: OrderedDict[str, nn.Module] = OrderedDict(standardize=Standardize())
    layers["stem"] = _convolution(channels, stem)
    channels = stem
    for number, (width, count) in enumerate(zip(widths, blocks, strict=True), start=1):
        layers[f"pool{number}"] = nn.MaxPool2d(2)
        layers[f"widen{number}"] = _convolution(channels, width)
        for block in range(1, count + 1):
            layers[f"block{number}_{block}"] = ResidualBlock(width)
        channels = width
    layers["mean"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    if dropout:
        layers["dropout"] = nn.Dropout(dropout)
    layers["logits"] = nn.Linear(channels, classes)
    return nn.Sequential(layers)


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
