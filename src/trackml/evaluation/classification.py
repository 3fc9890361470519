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
from trackml.evaluation.report import Report, as_json
from trackml.history import History
from trackml.metrics import LATENCY, label_metrics, own_scores, score_classes, seconds_per_1000

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Scores = NDArray[np.float32]

NO_CLASS = -1  # a prediction that names none
MAX_MISTAKES = 24  # images
MAX_ROWS = 100  # of a table, that were mistaken


@standard_settings()
def evaluate_classifier(
    predict: Callable[[NDArray[Any]], Scores],
    data: ImageData | TableData,
    history: History,
    augmented: NDArray[Any] | None = None,
) -> Report:
    """Score a classifier on the test data, once, and report the scores with figures.

    Mistakes are shown as images; those of a table are listed with their columns.

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
    figures: dict[str, Callable[[], Figure | None]] = {
        "figures/learning_curves.png": partial(learning_curves, history)
    }
    texts: dict[str, Callable[[], str | None]] = {}
    match data:
        case ImageData(test=test, train=train):
            figures["figures/mistakes.png"] = partial(
                plot_mistakes, test.images, labels, probabilities, classes
            )
            figures["figures/samples.png"] = partial(plot_samples, train, classes, augmented)
            kind = "images"
        case TableData():
            texts["reports/mistakes.csv"] = partial(list_mistakes, data, probabilities)
            kind = "rows"
    of_labels = evaluate_labels(probabilities.argmax(axis=1), labels, classes, kind=kind)
    latency = {LATENCY: seconds_per_1000(predict, inputs)}
    return Report(scores) | of_labels | Report(latency, texts, figures)


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
    finish(axes, LEGEND_ABOVE, xlim=(0, 1.12), xlabel=f"F1 on the test {kind}", ylabel="")
    return figure


def worst_mistakes(labels: Labels, probabilities: Scores) -> NDArray[np.intp]:
    """The rows that are wrong, those with the highest confidence first.

    Args:
        labels: (N,). probabilities: (N, C).
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(-probabilities.max(axis=1)[wrong], kind="stable")]


def list_mistakes(data: TableData, probabilities: Scores) -> str | None:
    """The wrong predictions with the highest confidence, as CSV; None if there are none.

    Each with its test row, counted from 1, its columns as a person writes them, the true and the
    predicted class and the probability of that.
    """
    features, labels = data.test.arrays
    worst = worst_mistakes(labels, probabilities)[:MAX_ROWS]
    if not len(worst):
        return None
    predicted = probabilities[worst].argmax(axis=1)
    answers = pd.DataFrame(
        {
            "true": [data.classes[label] for label in labels[worst]],
            "predicted": [data.classes[label] for label in predicted],
            "probability": probabilities[worst].max(axis=1),
        }
    )
    rows = data.as_frame(features[worst])
    if not answers.columns.intersection(rows.columns).empty:
        answers = answers.add_prefix("class_")
    listed = pd.concat([rows, answers], axis=1)
    listed.index = pd.Index(worst + 1, name="test_row")
    return listed.to_csv(float_format="%.6g")


def plot_mistakes(
    images: Images, labels: Labels, probabilities: Scores, classes: Sequence[str]
) -> Figure:
    """The wrong predictions with the highest confidence, the highest first.

    Args:
        images: (N, height, width, ...). labels: (N,). probabilities: (N, C).
    """
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong, names = worst_mistakes(labels, probabilities), [shortened(name, 12) for name in classes]
    worst = wrong[:MAX_MISTAKES]
    titles = [
        f"says {names[predicted[index]]}, {confidence[index]:.1%}\nis {names[labels[index]]}"
        for index in worst
    ]
    title = f"Most confident of {len(wrong):,} mistakes on {len(labels):,} test images"
    return gallery(images[worst], titles, columns=8, cell_inches=1.5, title=title)


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
