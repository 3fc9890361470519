"""Pictures of what a network in training says to a few validation images, small and soon drawn.

Drawn by Pillow: matplotlib would take ten times as long, and training waits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from trackml.data import ImageData
from trackml.data.canvases import Canvases, DetectionData, Objects
from trackml.evaluation.figures.axes import SECOND, THIRD, shortened
from trackml.evaluation.figures.galleries import as_drawn

COLUMNS, ROWS = 5, 4
SIDE, GAP, LINE = 96, 22, 15  # pixels: of an image, between two, of a line of text
LINE_LENGTH = 90  # characters of a caption
MIN_SCORE = 0.5  # of a detection that is drawn
FRAMES = "frame: green if the answer is right, orange if it is wrong"
BOXES = f"boxes: green is there, orange was found with a score of {MIN_SCORE} or more"
_FONT = Path("fonts", "ttf", "DejaVuSans.ttf")

Answers = NDArray[Any] | Objects
"""To all validation inputs: class probabilities (N, C), or the objects that were detected."""


@dataclass(frozen=True)
class _Tile:
    image: NDArray[np.uint8]
    text: str
    color: Any  # of its frame; None for no frame
    boxes: Sequence[tuple[Sequence[float], Any]] = ()  # with their colors


def draw_progress(
    data: ImageData | DetectionData, answers: Answers, title: str, caption: str
) -> Image.Image:
    """The same validation images each time, of as many classes as there is room for.

    Frames are green where the answer is right, orange where it is wrong. On canvases green boxes
    are what is there, orange ones what was found with a score of 0.5 or more.
    """
    if isinstance(data, DetectionData):
        tiles, colors = list(_canvases(data.validation, answers, data.classes)), BOXES
    else:
        tiles, colors = list(_classified(data, answers)), FRAMES
    cell = (SIDE + GAP, SIDE + 2 * LINE + GAP // 2)
    width, above = COLUMNS * cell[0], 2 * LINE + -(-len(tiles) // COLUMNS) * cell[1]
    below = [colors, *wrap(caption, LINE_LENGTH)]
    picture = Image.new("RGB", (width, above + LINE * len(below)), "white")
    draw = ImageDraw.Draw(picture)
    fonts = [
        ImageFont.truetype(str(Path(matplotlib.get_data_path(), _FONT)), points)
        for points in (13, 10)
    ]
    draw.text((width / 2, LINE), title, "black", fonts[0], anchor="mm")
    for number, line in enumerate(below):
        place = (width / 2, above + LINE * (number + 0.5))
        draw.text(place, line, "dimgray", fonts[1], anchor="mm")
    for number, tile in enumerate(tiles):
        left = number % COLUMNS * cell[0] + GAP // 2
        top = 2 * LINE + number // COLUMNS * cell[1] + 2 * LINE
        middle = left + SIDE / 2
        draw.multiline_text(
            (middle, top - 5), tile.text, "black", fonts[1], anchor="md", spacing=1, align="center"
        )
        shown = _resized(tile.image)
        picture.paste(shown, (left, top))
        if tile.color:
            corner = (left + shown.width + 1, top + shown.height + 1)
            draw.rectangle((left - 2, top - 2, *corner), outline=_rgb(tile.color), width=3)
        scale = shown.width / tile.image.shape[1]
        for box, color in tile.boxes:
            x1, y1, x2, y2 = (scale * side for side in box)
            draw.rectangle((left + x1, top + y1, left + x2, top + y2), outline=_rgb(color))
    return picture


def _classified(data: ImageData, answers: Any) -> Iterator[_Tile]:
    images, labels = data.validation.arrays
    names = [shortened(name, 10) for name in data.classes]
    for row in _of_all_classes(labels, COLUMNS * ROWS):
        label, answer = labels[row], int(answers[row].argmax())
        text = f"is {names[label]}\nsays {names[answer]} {answers[row, answer]:.0%}"
        yield _Tile(images[row], text, THIRD if answer == label else SECOND)


def _of_all_classes(labels: NDArray[np.int64], count: int) -> NDArray[np.intp]:
    """Rows (count,), by class: the first of each, the second of each, and so on."""
    by_class = np.argsort(labels, kind="stable")
    ordered = labels[by_class]
    number = np.arange(len(labels)) - np.searchsorted(ordered, ordered)  # within its class
    chosen = by_class[np.argsort(number, kind="stable")[:count]]
    return chosen[np.argsort(labels[chosen], kind="stable")]


def _canvases(canvases: Canvases, found: Any, classes: Sequence[str]) -> Iterator[_Tile]:
    count = min(COLUMNS * ROWS, len(canvases))
    every = (each.per_image(len(canvases)) for each in (canvases.objects, found))
    for image, there, detected in zip(canvases.images[:count], *every, strict=False):
        own = detected.at(detected.scores >= MIN_SCORE)
        boxes = [(box, THIRD) for box in there.boxes] + [(box, SECOND) for box in own.boxes]
        names = [" ".join(classes[label] for label in each.labels) for each in (there, own)]
        texts = [shortened(text, 14) for text in names]
        yield _Tile(image, f"is {texts[0]}\nfound {texts[1] or 'none'}", None, boxes)


def _resized(image: NDArray[np.uint8]) -> Image.Image:
    """In a square of SIDE pixels; small images keep sharp edges."""
    shown = Image.fromarray(np.asarray(as_drawn(image[np.newaxis])[0]).round().astype(np.uint8))
    factor = SIDE / max(shown.size)
    size = [max(1, round(factor * side)) for side in shown.size]
    resampling = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.BILINEAR
    return shown.resize((size[0], size[1]), resampling).convert("RGB")


def _rgb(color: Sequence[float]) -> tuple[int, ...]:
    return tuple(round(255 * share) for share in color)
