"""A model's layers as text, the same for every framework."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Layer:
    """One row: `output` is a shape such as "N x 128", `parameters` are all of the layer's."""

    name: str
    kind: str
    output: str
    parameters: int


def table(layers: Iterable[Layer], trainable: int) -> str:
    """A table of layers, and below them the number of trainable parameters of all."""
    rows = [
        ("layer", "type", "output", "parameters"),
        *((each.name, each.kind, each.output, f"{each.parameters:,}") for each in layers),
        ("trainable", "", "", f"{trainable:,}"),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([*map(str.ljust, row[:-1], widths), row[-1].rjust(widths[-1])]) for row in rows
    ]
    return "\n".join([*lines, ""])
