"""The evaluation of detectors: scores and figures."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from time import perf_counter

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from trackml.backends import standard_settings
from trackml.data.canvases import Canvases, DetectionData, Objects
from trackml.evaluation.box_matching import MIN_SCORE, ImageMatches, match_boxes, mean_iou
from trackml.evaluation.classification import NO_CLASS, evaluate_labels
from trackml.evaluation.figures.axes import FIFTH, SECOND, THIRD
from trackml.evaluation.figures.galleries import Mark, gallery
from trackml.evaluation.figures.runs import learning_curves, losses
from trackml.evaluation.report import Report
from trackml.history import History
from trackml.metrics import LATENCY

LABELS = {"loss": "loss: sum of its parts", "map": "mAP: mean average precision"}
COLUMNS, ROWS = 8, 3
MAX_IMAGES = COLUMNS * ROWS
CELL = 1.75  # inches
TEXT = 6  # pixels of an image that a line of text takes


@standard_settings()
def evaluate_detector(
    find: Callable[[Canvases], Objects], data: DetectionData, history: History
) -> Report:
    """Score a detector on the test canvases, once, and report the scores with figures.

    On canvases with one object it is also scored as a classifier, by the class of its best box:
    test_accuracy, train_accuracy, test_f1_macro and so on.
    """
    started = perf_counter()  # of all canvases: to detect objects on 1,000 again takes seconds
    detections = find(data.test)
    seconds = perf_counter() - started
    singles, train_singles, classes = data.singles, data.train_singles, data.classes
    on_singles = detections if singles is data.test else find(singles)
    predicted = best_labels(on_singles, len(singles))
    of_labels = evaluate_labels(predicted, singles.objects.labels, classes, may_name_none=True)
    train_predicted = best_labels(find(train_singles), len(train_singles))
    precision = mean_average_precision(detections, data.test)
    matches = match_boxes(detections, data.test)
    scores = {f"test_{name}": value for name, value in precision.items()}
    more_scores = {
        "train_accuracy": float((train_predicted == train_singles.objects.labels).mean()),
        LATENCY: seconds * 1000 / len(data.test),
    }
    figures: dict[str, Callable[[], Figure | None]] = {
        "figures/learning_curves.png": partial(learning_curves, history, LABELS),
        "figures/losses.png": partial(losses, history),
        "figures/detections.png": partial(plot_detections, data.test.images, matches, classes),
        "figures/mistakes.png": partial(plot_mistakes, data.test.images, matches, classes),
        "figures/samples.png": partial(plot_samples, data.train, classes),
    }
    first = Report(scores | {"test_mean_iou": mean_iou(matches)})
    return first | of_labels | Report(more_scores, figures=figures)


def mean_average_precision(detections: Objects, canvases: Canvases) -> dict[str, float]:
    """Mean average precision over classes: "map" over overlaps of 0.5 to 0.95, "map_50" at 0.5.

    As COCO's evaluation defines it (Lin et al., 2014).
    """
    from torchmetrics.detection import MeanAveragePrecision  # here, as it takes a second to import

    metric = MeanAveragePrecision(backend="faster_coco_eval")
    images = len(canvases)
    metric.update(*(_as_tensors(each, images) for each in (detections, canvases.objects)))
    scores = metric.compute()
    return {name: float(scores[name]) for name in ("map", "map_50")}


def _as_tensors(objects: Objects, images: int) -> list[dict[str, torch.Tensor]]:
    names = ("boxes", "labels", "scores")
    return [
        {name: torch.tensor(getattr(each, name)) for name in names}
        for each in objects.per_image(images)
    ]


def best_labels(detections: Objects, images: int) -> NDArray[np.int64]:
    """(images,): the class of the detection with the highest score, NO_CLASS if there is none."""
    best = (
        each.labels[each.scores.argmax()] if len(each) else NO_CLASS
        for each in detections.per_image(images)
    )
    return np.fromiter(best, np.int64, images)


def plot_detections(
    images: NDArray[np.uint8], matches: Sequence[ImageMatches], classes: Sequence[str]
) -> Figure:
    """The first test canvases, with what was detected on them."""
    right = sum(not each.severity for each in matches)
    title = f"{right:,} of {len(matches):,} test canvases with all found, and nothing else"
    return _plot_matches(images[:MAX_IMAGES], matches[:MAX_IMAGES], classes, title)


def plot_mistakes(
    images: NDArray[np.uint8], matches: Sequence[ImageMatches], classes: Sequence[str]
) -> Figure:
    """The canvases with the highest severity, the highest first."""
    severities = np.array([each.severity for each in matches])
    order = np.argsort(-severities, kind="stable")
    bad = order[severities[order] > 0]
    title = f"The worst of {len(bad):,} test canvases with something missed or wrong"
    worst = bad[:MAX_IMAGES]
    return _plot_matches(images[worst], [matches[index] for index in worst], classes, title)


def _plot_matches(
    images: NDArray[np.uint8], matches: Sequence[ImageMatches], classes: Sequence[str], title: str
) -> Figure:
    legend = "green, dashed: what is there; orange: what was found, its score "
    legend += f"{MIN_SCORE} or more; pink: and is wrong"
    titles = [f"is {_names(each.objects, classes)}" for each in matches]
    marks = [list(_marks(each, classes, images.shape[1])) for each in matches]
    return gallery(images, titles, COLUMNS, CELL, f"{title}\n{legend}", marks)


def _marks(matches: ImageMatches, classes: Sequence[str], size: int) -> Iterator[Mark]:
    yield from (Mark(box, THIRD, "--") for box in matches.objects.boxes)
    found = matches.detections
    rows = zip(found.boxes, found.labels, found.scores, matches.wrong, strict=True)
    for number, (box, label, score, wrong) in enumerate(rows):
        # Alternately above and below, as two may be in one place, but always on the image.
        room_above, room_below = box[1] > TEXT, size - box[3] > TEXT
        below = bool(room_below and (number % 2 or not room_above))
        text = f"{classes[label]}  {score:.0%}"
        yield Mark(box, FIFTH if wrong else SECOND, text=text, below=below)


def plot_samples(train: Canvases, classes: Sequence[str]) -> Figure:
    """The first canvases to train on, with their boxes."""
    count = min(MAX_IMAGES, len(train))
    objects = list(train.objects.per_image(count))
    titles = [_names(each, classes) for each in objects]
    marks = [[Mark(box, THIRD, "--") for box in each.boxes] for each in objects]
    return gallery(train.images[:count], titles, COLUMNS, CELL, "Canvases to train on", marks)


def _names(objects: Objects, classes: Sequence[str]) -> str:
    return ", ".join(classes[label] for label in objects.labels)
