"""Many images in one figure, with or without boxes on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from trackml.evaluation.figures.axes import DPI, canvas


@dataclass(frozen=True)
class Mark:
    """A box (x1, y1, x2, y2), in pixels of its image, with a text above or below it."""

    box: Sequence[float]
    color: Any
    style: str = "-"
    text: str = ""
    below: bool = False


def gallery(
    images: NDArray[Any],
    titles: Sequence[str],
    columns: int,
    cell_inches: float,
    title: str,
    marks: Sequence[Sequence[Mark]] = (),
) -> Figure:
    """Images in rows, each below its title.

    All on one pair of axes: a pair for each would take ten times as long to draw.

    Args:
        images: (N, height, width), 0 black to 255 white, or (N, height, width, channels): 1 or 2,
            of which the first is shown as gray, RGB, or RGB with transparency.
        marks: of each image; empty for no marks at all.
    """
    images = as_drawn(images, round(2 * cell_inches * DPI) if not marks else None)
    height, width = images.shape[1:3]
    room = max(width, height // 2)  # in which tall images are not too large
    gap = max(2, room // 8) + room - width
    pixels_per_inch = (width + gap) / cell_inches
    lines = max((text.count("\n") + 1 for text in titles), default=1)
    above = round((0.06 + 0.16 * lines) * pixels_per_inch)  # room for a title
    tiles, corners = mosaic(images, columns, gap, above, background=255)  # white
    figure, axes = canvas(columns * cell_inches, len(tiles) / pixels_per_inch + 0.4)
    for number, ((left, top), text) in enumerate(zip(corners, titles, strict=True)):
        middle, bottom = left + width / 2, top - 0.05 * pixels_per_inch
        axes.text(middle, bottom, text, ha="center", va="bottom", fontsize=8)
        for mark in marks[number] if marks else ():
            _draw(axes, mark, left - 0.5, top - 0.5)  # imshow has pixel centers at whole numbers
    if tiles.ndim == 3:  # in color, of which matplotlib takes whole numbers up to 255
        tiles = np.clip(tiles.round(), 0, 255).astype(np.uint8)
    axes.imshow(tiles, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_axis_off()
    figure.suptitle(title)
    return figure


def mosaic(
    images: NDArray[Any], columns: int, gap: int, above: int, background: float
) -> tuple[NDArray[np.float64], list[tuple[int, int]]]:
    """Images (N, height, width, ...) in rows as one image, and the left and top pixel of each.

    Args:
        gap, above: pixels of background to the right of each image, and above it.
    """
    height, width, *channels = images.shape[1:]
    rows = max(1, -(-len(images) // columns))
    shape = (rows * (height + above), columns * (width + gap), *channels)
    tiles = np.full(shape, background, np.float64)
    corners = []
    for number, image in enumerate(images):
        left, top = number % columns * (width + gap), number // columns * (height + above) + above
        tiles[top : top + height, left : left + width] = image
        corners.append((left, top))
    return tiles, corners


def as_drawn(images: NDArray[Any], max_side: int | None = None) -> NDArray[Any]:
    """Gray images (N, height, width) or RGB ones (N, height, width, 3), without needless pixels."""
    if max_side:
        step = -(-max(images.shape[1:3]) // max_side)
        images = images[:, ::step, ::step]
    if images.ndim == 3 or images.shape[3] == 3:
        return images
    if images.shape[3] < 3:
        return images[..., 0]
    opaque = images[..., 3:] / 255
    return images[..., :3] * opaque + 255 * (1 - opaque)  # on white


def _draw(axes: Axes, mark: Mark, left: float, top: float) -> None:
    x1, y1, x2, y2 = mark.box
    style = {"edgecolor": mark.color, "linestyle": mark.style, "linewidth": 1}
    axes.add_patch(Rectangle((left + x1, top + y1), x2 - x1, y2 - y1, fill=False, **style))
    y, side = (y2 + 1, "top") if mark.below else (y1 - 1, "bottom")
    axes.text(left + x1, top + y, mark.text, color=mark.color, fontsize=6.5, va=side)
