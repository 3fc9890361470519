"""The evaluation of detectors."""

from collections.abc import Callable
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.detection import MeanAveragePrecision

from trackml.data.canvases import Canvases, DetectionData, Objects
from trackml.evaluation import latency
from trackml.evaluation.classification import NO_CLASS, evaluate_labels
from trackml.evaluation.figures import detection as figures
from trackml.evaluation.figures.runs import learning_curves, losses
from trackml.evaluation.matching import match, mean_iou
from trackml.evaluation.report import Report
from trackml.history import History


def evaluate_detector(
    find: Callable[[Canvases], Objects], data: DetectionData, history: History
) -> Report:
    """Score what is found on the test canvases, once, and draw what a person wants to see.

    On canvases with one object each a detector is a classifier, which says the class of its best
    box: that is what test_accuracy and its like are of, and train_accuracy.
    """
    started = perf_counter()  # of all at once: a second look would take seconds
    found = find(data.test)
    seconds = perf_counter() - started
    singles, known = data.singles, data.train_singles
    on_singles = found if singles is data.test else find(singles)
    of_labels = evaluate_labels(
        best_labels(on_singles, len(singles)),
        singles.objects.labels,
        data.classes,
        may_name_none=True,
    )
    right = best_labels(find(known), len(known)) == known.objects.labels
    precision = mean_average_precision(found, data.test)
    outcomes = match(found, data.test)
    return Report(
        metrics={
            **{f"test_{name}": value for name, value in precision.items()},
            "test_mean_iou": mean_iou(outcomes),
            **of_labels.metrics,
            "train_accuracy": float(right.mean()),
            latency.METRIC: seconds * 1000 / len(data.test),
        },
        texts=of_labels.texts,
        figures={
            "figures/learning_curves.png": learning_curves(history),
            "figures/losses.png": losses(history),
            **of_labels.figures,
            "figures/detections.png": figures.detections(data.test.images, outcomes, data.classes),
            "figures/mistakes.png": figures.mistakes(data.test.images, outcomes, data.classes),
            "figures/samples.png": figures.samples(data.train, data.classes),
        },
    )


def mean_average_precision(found: Objects, canvases: Canvases) -> dict[str, float]:
    """Mean average precision, over classes: "map" over overlaps of 0.5 to 0.95, "map_50" at 0.5.

    As COCO's evaluation defines it (Lin et al., 2014).
    """
    metric = MeanAveragePrecision(backend="faster_coco_eval")
    metric.update(*(_as_tensors(objects, len(canvases)) for objects in (found, canvases.objects)))
    scores = metric.compute()
    return {name: float(scores[name]) for name in ("map", "map_50")}


def _as_tensors(objects: Objects, images: int) -> list[dict[str, torch.Tensor]]:
    return [
        {
            "boxes": torch.tensor(each.boxes),
            "labels": torch.tensor(each.labels),
            "scores": torch.tensor(each.scores),
        }
        for each in objects.per_image(images)
    ]


def best_labels(found: Objects, images: int) -> NDArray[np.int64]:
    """The class of the surest object on each of so many images, NO_CLASS where none was found."""
    return np.array(
        [
            each.labels[each.scores.argmax()] if len(each) else NO_CLASS
            for each in found.per_image(images)
        ],
        np.int64,
    )
