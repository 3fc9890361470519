"""A model's layers as text, and the images that fit it, the same for every framework."""

from collections.abc import Iterable
from typing import NamedTuple


class LayerRow(NamedTuple):
    """A layer: `output` is a shape such as "N x 128"; `parameters` are all of them."""

    name: str
    kind: str
    output: str
    parameters: int


def table(layers: Iterable[LayerRow], trainable: int) -> str:
    """A table of layers, and below them the number of trainable parameters of the model."""
    rows = [("layer", "type", "output", "parameters")]
    rows += [(*layer[:3], f"{layer.parameters:,}") for layer in layers]
    rows += [("trainable", "", "", f"{trainable:,}")]
    *widths, last = (max(map(len, column)) for column in zip(*rows, strict=True))
    lines = ("  ".join([*map(str.ljust, row, widths), row[-1].rjust(last)]) for row in rows)
    return "\n".join([*lines, ""])


def check_image_shape(shape: tuple[int, ...], poolings: int) -> None:
    """Raise ValueError unless images of this shape can be halved so often."""
    if len(shape) not in (2, 3) or min(shape[:2]) < 2**poolings:
        raise ValueError(
            "shape must be (height, width) or (height, width, channels), with sides of at least "
            f"{2**poolings} pixels. Received: {shape}"
        )
