"""The report on a model: numbers, texts and figures under the names of the tracking contract."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import classification_report, confusion_matrix

from trackml.data import ImageData
from trackml.evaluation import figures
from trackml.evaluation.metrics import classification_metrics
from trackml.history import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Report:
    """Metrics by name; texts and figures by their path among a run's artifacts."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, "Figure"] = field(default_factory=dict)


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
            "reports/classification_report.json": _json(
                _classification_report(labels, predicted, classes, output_dict=True)
            ),
            "reports/confusion_matrix.json": _json(
                {
                    "classes": classes,
                    "rows": "true",
                    "columns": "predicted",
                    "counts": matrix.tolist(),
                }
            ),
        },
        figures={
            "figures/learning_curves.png": figures.learning_curves(history),
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


def compare_architectures(
    metrics: Mapping[str, Mapping[str, float]], names: Sequence[str], notes: Sequence[str] = ()
) -> Report:
    """The metrics `names` of two architectures, one run each, side by side.

    Args:
        metrics: architecture → its metrics; the difference is the second's minus the first's.
        notes: lines to print below the table.
    """
    values = pd.DataFrame(
        {
            architecture: [scores[name] for name in names]
            for architecture, scores in metrics.items()
        },
        index=list(names),
    )
    first, second = values.columns
    lines = [f"| | {first} | {second} | difference |", "|---|---:|---:|---:|"]
    for name, row in values.iterrows():
        lines.append(
            f"| {name} | {row[first]:.4f} | {row[second]:.4f} | {row[second] - row[first]:+.4f} |"
        )
    return Report(
        texts={
            "reports/comparison.md": "\n".join([*lines, "", *notes, ""]),
            "reports/comparison.json": _json(values.to_dict()),
        },
        figures={"figures/comparison.png": figures.comparison(values)},
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


def _json(value: object) -> str:
    return json.dumps(value, indent=2)
