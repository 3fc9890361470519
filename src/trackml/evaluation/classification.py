"""The evaluation of classifiers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import classification_report, confusion_matrix

from trackml.data import ImageData
from trackml.evaluation.figures import classification as figures
from trackml.evaluation.figures.runs import learning_curves
from trackml.evaluation.metrics import classification_metrics
from trackml.evaluation.report import Report, as_json
from trackml.history import History


def evaluate_classifier(
    probabilities: NDArray[np.float32],
    data: ImageData,
    history: History,
    augmented: NDArray[Any] | None = None,
) -> Report:
    """Score a classifier's answers to the test images, once, and draw what a person wants to see.

    Args:
        probabilities: float32 (N, C), for the N test images.
        augmented: images as the model saw them in training, (M, height, width): the augmented
            versions of the first M training images.
    """
    labels, classes = data.test.labels, data.classes
    predicted = probabilities.argmax(axis=1)
    metrics = classification_metrics(probabilities, labels)
    matrix = confusion_matrix(labels, predicted, labels=range(len(classes)))
    return Report(
        metrics={f"test_{name}": value for name, value in metrics.items()},
        texts={
            "reports/classification_report.txt": _classification_report(labels, predicted, classes),
            "reports/classification_report.json": as_json(
                _classification_report(labels, predicted, classes, output_dict=True)
            ),
            "reports/confusion_matrix.json": as_json(
                {
                    "classes": classes,
                    "rows": "true",
                    "columns": "predicted",
                    "counts": matrix.tolist(),
                }
            ),
        },
        figures={
            "figures/learning_curves.png": learning_curves(history),
            "figures/confusion_matrix.png": figures.confusion_matrix(matrix, classes),
            "figures/per_class_f1.png": figures.per_class_f1(
                [metrics[f"f1_class_{c}"] for c in range(len(classes))], classes
            ),
            "figures/mistakes.png": figures.mistakes(
                data.test.images, labels, probabilities, classes
            ),
            "figures/samples.png": figures.samples(data.train, classes)
            if augmented is None
            else figures.augmentations(data.train, classes, augmented),
        },
    )


def _classification_report(
    labels: NDArray[Any], predicted: NDArray[Any], classes: Sequence[str], **options: Any
) -> Any:
    return classification_report(
        labels,
        predicted,
        labels=range(len(classes)),
        target_names=list(classes),
        digits=4,
        zero_division=0,
        **options,
    )
