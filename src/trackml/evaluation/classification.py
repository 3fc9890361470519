"""The evaluation of classifiers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import classification_report, confusion_matrix

from trackml.data import ImageData
from trackml.evaluation import latency
from trackml.evaluation.figures import classification as figures
from trackml.evaluation.figures.runs import learning_curves
from trackml.evaluation.metrics import label_metrics, score_classes
from trackml.evaluation.report import Report, as_json
from trackml.history import History

NO_CLASS = -1  # a prediction that names none


def evaluate_classifier(
    predict: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    data: ImageData,
    history: History,
    augmented: NDArray[Any] | None = None,
) -> Report:
    """Score a classifier's answers to the test images, once, and draw what a person wants to see.

    Args:
        predict: images uint8 (N, height, width) → class probabilities float32 (N, C).
        augmented: images as the model saw them in training, (M, height, width): the augmented
            versions of the first M training images.
    """
    labels, classes = data.test.labels, data.classes
    probabilities = predict(data.test.images)
    of_labels = evaluate_labels(probabilities.argmax(axis=1), labels, classes)
    loss = score_classes(probabilities, labels)["loss"]
    return Report(
        metrics={
            "test_loss": loss,
            **of_labels.metrics,
            latency.METRIC: latency.seconds_per_1000(predict, data.test.images),
        },
        texts=of_labels.texts,
        figures={
            "figures/learning_curves.png": learning_curves(history),
            **of_labels.figures,
            "figures/mistakes.png": figures.mistakes(
                data.test.images, labels, probabilities, classes
            ),
            "figures/samples.png": figures.samples(data.train, classes)
            if augmented is None
            else figures.augmentations(data.train, classes, augmented),
        },
    )


def evaluate_labels(
    predicted: NDArray[np.int64],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    *,
    may_name_none: bool = False,
) -> Report:
    """Score predicted classes (N,) for labels (N,): metrics, reports, confusion matrix, F1.

    Args:
        predicted: indices of classes; if `may_name_none` also NO_CLASS, which is always wrong.
    """
    metrics = label_metrics(predicted, labels, len(classes))
    indices, columns = list(range(len(classes))), list(classes)
    if may_name_none:
        indices, columns = [*indices, NO_CLASS], [*columns, "none"]
    matrix = confusion_matrix(labels, predicted, labels=indices)[: len(classes)]
    report = _classification_report(labels, predicted, classes, output_dict=True)
    report.pop("micro avg", None)  # scikit-learn's name for the accuracy if some name no class
    report["accuracy"] = metrics["accuracy"]
    return Report(
        metrics={f"test_{name}": value for name, value in metrics.items()},
        texts={
            "reports/classification_report.txt": _classification_report(labels, predicted, classes),
            "reports/classification_report.json": as_json(report),
            "reports/confusion_matrix.json": as_json(
                {
                    "classes": classes,
                    "rows": "true",
                    "columns": "predicted",
                    "predicted": columns,
                    "counts": matrix.tolist(),
                }
            ),
        },
        figures={
            "figures/confusion_matrix.png": figures.confusion_matrix(matrix, classes, columns),
            "figures/per_class_f1.png": figures.per_class_f1(
                [metrics[f"f1_class_{c}"] for c in range(len(classes))], classes
            ),
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
