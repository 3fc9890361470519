"""Figures on a classifier of images, and on the images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from numpy.typing import NDArray

from trackml.data import ImageSplit
from trackml.evaluation.figures.canvas import FIRST, THIRD, canvas, slant_labels
from trackml.evaluation.figures.galleries import gallery


def confusion_matrix(
    counts: NDArray[np.int64], classes: Sequence[str], columns: Sequence[str]
) -> Figure:
    """Rows: true classes. Each cell: the count, and its share of the row, which sets the colour.

    Args:
        counts: int (C, P), rows true, columns predicted.
        columns: what may be predicted: the classes, and perhaps more.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    texts = np.array(
        [
            [f"{n}\n{share:.1%}" if n else "" for n, share in zip(row, row_shares, strict=True)]
            for row, row_shares in zip(counts, shares, strict=True)
        ]
    )
    side = 2 + 0.72 * len(classes)
    figure, axes = canvas(side + 0.8, side)
    sns.heatmap(
        pd.DataFrame(shares, index=list(classes), columns=list(columns)),
        annot=texts,
        fmt="",
        annot_kws={"size": 8},
        vmin=0,
        vmax=1,
        cmap="Blues",
        linewidths=0.5,
        square=True,
        cbar_kws={"label": "share of the true class", "shrink": 0.8},
        ax=axes,
    )
    axes.set(
        title=f"{np.trace(counts):,} of {counts.sum():,} test images right "
        f"({np.trace(counts) / counts.sum():.2%})",
        xlabel="predicted",
        ylabel="true",
    )
    slant_labels(axes)
    return figure


def per_class_f1(scores: Sequence[float], classes: Sequence[str]) -> Figure:
    """F1 of each class as a bar, and their mean as a line."""
    figure, axes = canvas(7.5, 1.2 + 0.38 * len(classes))
    sns.barplot(x=list(scores), y=list(classes), color=FIRST, ax=axes)
    for position, score in enumerate(scores):
        # In a column of their own, where the line of the mean crosses none.
        axes.text(1.02, position, f"{score:.3f}", va="center", fontsize=9)
    mean = float(np.mean(scores))
    axes.axvline(mean, color=THIRD, linestyle="--", label=f"macro F1 {mean:.3f}")
    axes.set(xlim=(0, 1.12), xlabel="F1 on the test images", ylabel="")
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
    sns.despine(ax=axes)
    return figure


def mistakes(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    classes: Sequence[str],
    shown: int = 24,
) -> Figure:
    """The wrong answers in which the model was most confident, most confident first.

    Args:
        images: (N, height, width). labels: (N,). probabilities: (N, C).
        shown: at most that many of them.
    """
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:shown]
    titles = [
        f"says {classes[predicted[index]]}, {probabilities[index].max():.1%}\n"
        f"is {classes[labels[index]]}"
        for index in worst
    ]
    title = f"Most confident of {len(wrong):,} mistakes on {len(labels):,} test images"
    return gallery(images[worst], titles, columns=8, cell_inches=1.5, title=title)


def samples(train: ImageSplit, classes: Sequence[str], columns: int = 10) -> Figure:
    """The first training images, in three rows, with their classes."""
    shown = train.images[: 3 * columns]
    titles = [classes[label] for label in train.labels[: 3 * columns]]
    return gallery(shown, titles, columns, cell_inches=1.25, title="Training images")


def augmentations(train: ImageSplit, classes: Sequence[str], augmented: NDArray[Any]) -> Figure:
    """Training images, each above its augmented version.

    Args:
        augmented: (M, height, width): versions of the first M training images.
    """
    count = len(augmented)
    images = np.concatenate([train.images[:count].astype(augmented.dtype), augmented])
    titles = [classes[label] for label in train.labels[:count]] + [""] * count
    title = "Training images, and below each one augmented version of it"
    return gallery(images, titles, count, cell_inches=1.25, title=title)
