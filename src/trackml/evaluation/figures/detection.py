"""Figures on a detector, and on canvases."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from trackml.data.canvases import Canvases, Objects
from trackml.evaluation.figures.canvas import FIFTH, SECOND, THIRD
from trackml.evaluation.figures.galleries import Mark, gallery
from trackml.evaluation.matching import SURE, Outcome

COLUMNS, ROWS = 8, 3
CELL = 1.75  # inches
TEXT = 6  # pixels of an image that a line of text takes


def detections(
    images: NDArray[np.uint8], outcomes: Sequence[Outcome], classes: Sequence[str]
) -> Figure:
    """The first test canvases, with what was found on them."""
    right = sum(not outcome.severity for outcome in outcomes)
    title = f"{right:,} of {len(outcomes):,} test canvases with all found, and nothing else"
    return _shown(images, outcomes, range(min(COLUMNS * ROWS, len(outcomes))), classes, title)


def mistakes(
    images: NDArray[np.uint8], outcomes: Sequence[Outcome], classes: Sequence[str]
) -> Figure:
    """The canvases with the worst misses, the worst first."""
    severities = np.array([outcome.severity for outcome in outcomes])
    worst = np.argsort(-severities, kind="stable")[: COLUMNS * ROWS]
    bad = int((severities > 0).sum())
    title = f"The worst of {bad:,} test canvases with something missed or wrong"
    return _shown(images, outcomes, worst[severities[worst] > 0], classes, title)


def _shown(
    images: NDArray[np.uint8],
    outcomes: Sequence[Outcome],
    indices: Sequence[int] | NDArray[np.int64],
    classes: Sequence[str],
    title: str,
) -> Figure:
    chosen = [outcomes[index] for index in indices]
    size = images.shape[1]
    return gallery(
        images[list(indices)],
        [f"is {_names(outcome.objects, classes)}" for outcome in chosen],
        COLUMNS,
        CELL,
        f"{title}\ngreen, dashed: what is there; orange: what was found, its score {SURE} or more; "
        "pink: and is wrong",
        [
            [
                *(Mark(box, THIRD, "--") for box in outcome.objects.boxes),
                *_found(outcome, classes, size),
            ]
            for outcome in chosen
        ],
    )


def _found(outcome: Outcome, classes: Sequence[str], size: int) -> Iterator[Mark]:
    found = outcome.found
    for number, (box, label, score, wrong) in enumerate(
        zip(found.boxes, found.labels, found.scores, outcome.wrong, strict=True)
    ):
        # In turns above and below, as there may be two in one place, but always on the image.
        above, room_below = box[1] > TEXT, size - box[3] > TEXT
        below = bool(room_below and (number % 2 or not above))
        colour = FIFTH if wrong else SECOND
        yield Mark(box, colour, "-", f"{classes[label]}  {score:.0%}", below)


def samples(train: Canvases, classes: Sequence[str]) -> Figure:
    """The first canvases to train on, with their boxes."""
    shown = min(COLUMNS * ROWS, len(train))
    objects = list(train.objects.per_image(shown))
    return gallery(
        train.images[:shown],
        [_names(each, classes) for each in objects],
        COLUMNS,
        CELL,
        "Canvases to train on",
        [[Mark(box, THIRD, "--") for box in each.boxes] for each in objects],
    )


def _names(objects: Objects, classes: Sequence[str]) -> str:
    return ", ".join(classes[label] for label in objects.labels)
