"""The evaluation of classifiers: scores, reports and figures."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import classification_report, confusion_matrix

from trackml.backends import standard_settings
from trackml.data import ImageData, ImageSplit, TableData
from trackml.evaluation.figures.axes import (
    FIRST,
    LEGEND_ABOVE,
    MANY,
    THIRD,
    canvas,
    finish,
    heat_map,
    shortened,
)
from trackml.evaluation.figures.galleries import gallery
from trackml.evaluation.figures.runs import learning_curves
from trackml.evaluation.importance import plot_importance
from trackml.evaluation.mistakes import list_mistakes, plot_confusions, plot_mistakes
from trackml.evaluation.probabilities import plot_calibration, plot_curves, reliability
from trackml.evaluation.report import Report, as_json
from trackml.history import History
from trackml.metrics import LATENCY, label_metrics, own_scores, score_classes, seconds_per_1000

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Scores = NDArray[np.float32]

LOSS_LABEL = {"loss": "loss: cross-entropy (nats)"}
NO_CLASS = -1  # a prediction that names none


@standard_settings()
def evaluate_classifier(
    predict: Callable[[NDArray[Any]], Scores],
    data: ImageData | TableData,
    history: History,
    augmented: NDArray[Any] | None = None,
) -> Report:
    """Score a classifier on the test data, once, and report the scores with figures.

    Mistakes are shown as images; those of a table are listed with their columns, and the figures
    say how much each of its columns matters.

    Args:
        predict: inputs (N, ...), as `data` has them → class probabilities float32 (N, C).
        augmented: (M, height, width, ...): the first M training images, augmented as in training.

    Raises:
        ValueError: the data has no classes.
    """
    if not data.classes:
        raise ValueError(f"{data.name} has no classes: evaluate_regressor is for quantities")
    (inputs, labels), classes = data.test.arrays, data.classes
    probabilities = predict(inputs)
    scores = own_scores(history.metrics, labels, probabilities, "test_")
    scores["test_loss"] = score_classes(probabilities, labels)["loss"]
    bins = reliability(probabilities, labels)
    kind = "images" if isinstance(data, ImageData) else "rows"
    figures: dict[str, Callable[[], Figure | None]] = {
        "figures/learning_curves.png": partial(learning_curves, history, LOSS_LABEL),
        "figures/roc_precision_recall.png": partial(
            plot_curves, probabilities, labels, classes, kind
        ),
        "figures/calibration.png": partial(plot_calibration, bins, kind),
    }
    texts: dict[str, Callable[[], str | None]] = {}
    match data:
        case ImageData(test=test, train=train):
            figures["figures/mistakes.png"] = partial(
                plot_mistakes, test.images, labels, probabilities, classes
            )
            figures["figures/confusions.png"] = partial(
                plot_confusions, test.images, labels, probabilities, classes
            )
            figures["figures/samples.png"] = partial(plot_samples, train, classes, augmented)
        case TableData():
            texts["reports/mistakes.csv"] = partial(list_mistakes, data, probabilities)
            figures["figures/permutation_importance.png"] = partial(plot_importance, predict, data)
    of_labels = evaluate_labels(probabilities.argmax(axis=1), labels, classes, kind=kind)
    more_scores = {
        "test_expected_calibration_error": bins.expected_error,
        LATENCY: seconds_per_1000(predict, inputs),
    }
    return Report(scores) | of_labels | Report(more_scores, texts, figures)


def evaluate_labels(
    predicted: Labels,
    labels: Labels,
    classes: Sequence[str],
    *,
    may_name_none: bool = False,
    kind: str = "images",
) -> Report:
    """Score predicted classes (N,) for labels (N,): metrics, reports, confusion matrix, F1.

    Args:
        predicted: indices of classes; with `may_name_none` also NO_CLASS, which is always wrong.
        kind: what is classified, for the figures.
    """
    metrics = label_metrics(predicted, labels, len(classes))
    f1 = [metrics[f"f1_class_{c}"] for c in range(len(classes))]
    indices, columns = list(range(len(classes))), list(classes)
    options: Any = {"labels": indices, "target_names": columns, "digits": 4, "zero_division": 0}
    text = partial(classification_report, labels, predicted, **options)
    if may_name_none:
        indices, columns = [*indices, NO_CLASS], [*columns, "none"]

    def details() -> str:
        scores = text(output_dict=True)
        scores.pop("micro avg", None)  # scikit-learn's name for the accuracy if some name no class
        return as_json(scores | {"accuracy": metrics["accuracy"]})

    def counts() -> NDArray[np.int64]:
        matrix: NDArray[np.int64] = confusion_matrix(labels, predicted, labels=indices)
        return matrix[: len(classes)]

    matrix = {"classes": classes, "rows": "true", "columns": "predicted", "predicted": columns}
    return Report(
        metrics={f"test_{name}": value for name, value in metrics.items()},
        texts={
            "reports/classification_report.txt": text,
            "reports/classification_report.json": details,
            "reports/confusion_matrix.json": lambda: as_json(
                matrix | {"counts": counts().tolist()}
            ),
        },
        figures={
            "figures/confusion_matrix.png": lambda: plot_confusion_matrix(
                counts(), classes, columns, kind
            ),
            "figures/per_class_f1.png": partial(plot_f1, f1, classes, kind),
        },
    )


def plot_confusion_matrix(
    counts: NDArray[np.int64], classes: Sequence[str], columns: Sequence[str], kind: str = "images"
) -> Figure:
    """The count in each cell and its share of the row, which sets the color.

    Many classes get small cells, without the shares.

    Args:
        counts: int (C, P), rows true, columns predicted.
        columns: the P labels that can be predicted: the classes, and perhaps more.
        kind: what is classified.
    """
    few = len(classes) <= MANY
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [[shortened(name) for name in each] for each in (classes, columns)]
    table = pd.DataFrame(shares, index=names[0], columns=names[1])
    side = 2 + (0.72 if few else 0.24) * len(classes)
    figure, axes = heat_map(table, side, "share of the true class", vmin=0, cmap="Blues")
    for row, column in np.argwhere(counts):
        count, share = counts[row, column], shares[row, column]
        axes.text(
            column + 0.5,
            row + 0.5,
            f"{count}\n{share:.1%}" if few else f"{count}",
            size=8 if few else 6,
            color="white" if share > 0.5 else "0.15",
            ha="center",
            va="center",
            in_layout=False,  # to measure thousands of texts takes a minute
        )
    right, total = np.trace(counts), counts.sum()
    title = f"{right:,} of {total:,} test {kind} right ({right / total:.2%})"
    axes.set(title=title, xlabel="predicted", ylabel="true")
    return figure


def plot_f1(scores: Sequence[float], classes: Sequence[str], kind: str = "images") -> Figure:
    """F1 of each class as a bar, and their mean as a line."""
    figure, axes = canvas(7.5, 1.2 + (0.38 if len(classes) <= MANY else 0.22) * len(classes))
    positions = range(len(classes))
    sns.barplot(x=list(scores), y=list(classes), color=FIRST, ax=axes)
    axes.set_yticks(positions, [shortened(name) for name in classes])
    for position, score in zip(positions, scores, strict=True):
        # To the right of all bars, where the line of the mean does not cross it.
        axes.text(1.02, position, f"{score:.3f}", va="center", fontsize=9)
    mean = float(np.mean(scores))
    axes.axvline(mean, color=THIRD, linestyle="--", label=f"macro F1 {mean:.3f}")
    finish(axes, LEGEND_ABOVE, xlim=(0, 1.12), xlabel=f"F1 on the test {kind}", ylabel="class")
    return figure


def plot_samples(
    train: ImageSplit, classes: Sequence[str], augmented: NDArray[Any] | None = None
) -> Figure:
    """The first training images; with `augmented` (M, height, width, ...) the first M above it."""
    count = 30 if augmented is None else len(augmented)
    names = [shortened(name, 18) for name in classes]
    images, titles = train.images[:count], [names[label] for label in train.labels[:count]]
    if augmented is None:
        return gallery(images, titles, columns=10, cell_inches=1.25, title="Training images")
    images = np.concatenate([images.astype(augmented.dtype), augmented])
    title = "Training images, and below each one augmented version of it"
    return gallery(images, titles + [""] * count, count, cell_inches=1.25, title=title)
