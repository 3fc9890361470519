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
from trackml.data import ImageData, ImageSplit
from trackml.evaluation.figures.axes import FIRST, LEGEND_ABOVE, THIRD, canvas, finish, heat_map
from trackml.evaluation.figures.galleries import gallery
from trackml.evaluation.figures.runs import training_figures
from trackml.evaluation.report import Report, as_json
from trackml.history import History
from trackml.metrics import LATENCY, label_metrics, score_classes, seconds_per_1000

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Scores = NDArray[np.float32]

NO_CLASS = -1  # a prediction that names none
MAX_MISTAKES = 24


@standard_settings()
def evaluate_classifier(
    predict: Callable[[Images], Scores],
    data: ImageData,
    history: History,
    augmented: NDArray[Any] | None = None,
) -> Report:
    """Score a classifier on the test images, once, and report the scores with figures.

    Args:
        predict: images uint8 (N, height, width) → class probabilities float32 (N, C).
        augmented: (M, height, width): the first M training images, augmented as in training.
    """
    images, labels, classes = data.test.images, data.test.labels, data.classes
    probabilities = predict(images)
    loss = score_classes(probabilities, labels)["loss"]
    of_labels = evaluate_labels(probabilities.argmax(axis=1), labels, classes)
    drawn: dict[str, Callable[[], Figure]] = {
        **training_figures(history),
        "mistakes": partial(plot_mistakes, images, labels, probabilities, classes),
        "samples": partial(plot_samples, data.train, classes, augmented),
    }
    figures = {f"figures/{name}.png": each for name, each in drawn.items()}
    latency = {LATENCY: seconds_per_1000(predict, images)}
    return Report({"test_loss": loss}) | of_labels | Report(latency, figures=figures)


def evaluate_labels(
    predicted: Labels, labels: Labels, classes: Sequence[str], *, may_name_none: bool = False
) -> Report:
    """Score predicted classes (N,) for labels (N,): metrics, reports, confusion matrix, F1.

    Args:
        predicted: indices of classes; with `may_name_none` also NO_CLASS, which is always wrong.
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
                counts(), classes, columns
            ),
            "figures/per_class_f1.png": partial(plot_f1, f1, classes),
        },
    )


def plot_confusion_matrix(
    counts: NDArray[np.int64], classes: Sequence[str], columns: Sequence[str]
) -> Figure:
    """The count in each cell and its share of the row, which sets the color.

    Args:
        counts: int (C, P), rows true, columns predicted.
        columns: the P labels that can be predicted: the classes, and perhaps more.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cells = zip(counts.flat, shares.flat, strict=True)
    texts = np.reshape([f"{n}\n{share:.1%}" if n else "" for n, share in cells], counts.shape)
    table = pd.DataFrame(shares, index=list(classes), columns=list(columns))
    look = {"annot": texts, "fmt": "", "annot_kws": {"size": 8}, "cmap": "Blues"}
    side = 2 + 0.72 * len(classes)
    figure, axes = heat_map(table, side, "share of the true class", vmin=0, **look)
    right, total = np.trace(counts), counts.sum()
    title = f"{right:,} of {total:,} test images right ({right / total:.2%})"
    axes.set(title=title, xlabel="predicted", ylabel="true")
    return figure


def plot_f1(scores: Sequence[float], classes: Sequence[str]) -> Figure:
    """F1 of each class as a bar, and their mean as a line."""
    figure, axes = canvas(7.5, 1.2 + 0.38 * len(classes))
    sns.barplot(x=list(scores), y=list(classes), color=FIRST, ax=axes)
    for position, score in enumerate(scores):
        # To the right of all bars, where the line of the mean does not cross it.
        axes.text(1.02, position, f"{score:.3f}", va="center", fontsize=9)
    mean = float(np.mean(scores))
    axes.axvline(mean, color=THIRD, linestyle="--", label=f"macro F1 {mean:.3f}")
    finish(axes, LEGEND_ABOVE, xlim=(0, 1.12), xlabel="F1 on the test images", ylabel="")
    return figure


def plot_mistakes(
    images: Images, labels: Labels, probabilities: Scores, classes: Sequence[str]
) -> Figure:
    """The wrong predictions with the highest confidence, the highest first.

    Args:
        images: (N, height, width). labels: (N,). probabilities: (N, C).
    """
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MAX_MISTAKES]
    titles = [
        f"says {classes[predicted[index]]}, {confidence[index]:.1%}\nis {classes[labels[index]]}"
        for index in worst
    ]
    title = f"Most confident of {len(wrong):,} mistakes on {len(labels):,} test images"
    return gallery(images[worst], titles, columns=8, cell_inches=1.5, title=title)


def plot_samples(
    train: ImageSplit, classes: Sequence[str], augmented: NDArray[Any] | None = None
) -> Figure:
    """The first training images; with `augmented` (M, height, width) the first M, above those."""
    count = 30 if augmented is None else len(augmented)
    images, titles = train.images[:count], [classes[label] for label in train.labels[:count]]
    if augmented is None:
        return gallery(images, titles, columns=10, cell_inches=1.25, title="Training images")
    images = np.concatenate([images.astype(augmented.dtype), augmented])
    title = "Training images, and below each one augmented version of it"
    return gallery(images, titles + [""] * count, count, cell_inches=1.25, title=title)
