"""Figures on a classifier of images, and on the images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from trackml.data import ImageSplit
from trackml.evaluation.figures.canvas import FIRST, THIRD, canvas, grid, slant_labels


def confusion_matrix(counts: NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """Rows: true classes. Each cell: the count, and its share of the row, which sets the colour.

    Args:
        counts: int (C, C), rows true, columns predicted.
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
        pd.DataFrame(shares, index=list(classes), columns=list(classes)),
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
    figure, cells = _grid(
        rows=max(1, -(-len(worst) // 8)), columns=8, row_inches=1.8, column_inches=1.5
    )
    for axes, index in zip(cells.flat, worst, strict=False):
        _show(axes, images[index])
        axes.set_title(
            f"says {classes[predicted[index]]}, {probabilities[index].max():.1%}\n"
            f"is {classes[labels[index]]}",
            fontsize=8,
        )
    figure.suptitle(f"Most confident of {len(wrong):,} mistakes on {len(labels):,} test images")
    return figure


def samples(train: ImageSplit, classes: Sequence[str], columns: int = 10) -> Figure:
    """The first training images, in three rows, with their classes."""
    figure, cells = _grid(rows=3, columns=columns, row_inches=1.35)
    for axes, image, label in zip(cells.flat, train.images, train.labels, strict=False):
        _show(axes, image)
        axes.set_title(classes[label], fontsize=8)
    figure.suptitle("Training images")
    return figure


def augmentations(train: ImageSplit, classes: Sequence[str], augmented: NDArray[Any]) -> Figure:
    """Training images, each above its augmented version.

    Args:
        augmented: (M, height, width): versions of the first M training images.
    """
    figure, cells = _grid(rows=2, columns=len(augmented), row_inches=1.35)
    for column, version in enumerate(augmented):
        _show(cells[0, column], train.images[column])
        _show(cells[1, column], version)
        cells[0, column].set_title(classes[train.labels[column]], fontsize=8)
    figure.suptitle("Training images, and below each one augmented version of it")
    return figure


def _grid(
    rows: int, columns: int, row_inches: float, column_inches: float = 1.25
) -> tuple[Figure, NDArray[Any]]:
    """A figure of empty cells without axes."""
    figure, cells = grid(rows, columns, columns * column_inches, rows * row_inches + 0.5)
    for axes in cells.flat:
        axes.set_axis_off()
    return figure, cells


def _show(axes: Axes, image: NDArray[Any]) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
