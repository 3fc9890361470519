"""What a classifier gets wrong: the most confident mistakes, and the classes that it mixes up."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from trackml.data import TableData
from trackml.evaluation.figures.axes import shortened
from trackml.evaluation.figures.galleries import gallery

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Scores = NDArray[np.float32]

MAX_MISTAKES = 24  # images
MAX_ROWS = 100  # of a table, that were mistaken
MAX_CONFUSIONS = 6  # pairs of classes
EXAMPLES = 4  # mistakes of each


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


def plot_confusions(
    images: Images, labels: Labels, probabilities: Scores, classes: Sequence[str]
) -> Figure | None:
    """The pairs of classes that are confused most often, a row each; None without a mistake.

    In a row are the most confident right image of the true class, mistakes with the highest
    confidence, and the most confident right image of the class that was predicted instead.

    Args:
        images: (N, height, width, ...). labels: (N,). probabilities: (N, C).
    """
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    counts = confusion_matrix(labels, predicted, labels=range(len(classes)))
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:MAX_CONFUSIONS]
    pairs = [divmod(int(cell), len(classes)) for cell in order if counts.flat[cell]]
    if not pairs:
        return None
    worst, names = worst_mistakes(labels, probabilities), [shortened(name, 14) for name in classes]
    wrong = {
        pair: worst[(labels[worst] == pair[0]) & (predicted[worst] == pair[1])][:EXAMPLES]
        for pair in pairs
    }
    blank, most = np.full_like(images[:1], 255), max(map(len, wrong.values()))
    shown, titles = [], []
    for (true, other), rows in wrong.items():
        typical = [_most_confident(each, labels, predicted, confidence) for each in (true, other)]
        first, last = (images[row : row + 1] if row >= 0 else blank for row in typical)
        shown += [first, images[rows], *[blank] * (most - len(rows)), last]
        is_found = "true" if typical[0] >= 0 else "true, none right"
        titles += [f"{is_found}\n{names[true]}", *(f"{confidence[row]:.1%}" for row in rows)]
        instead = f"{counts[true, other]} x predicted\n{names[other]}"
        titles += [*[""] * (most - len(rows)), instead]
    of_pairs, total = sum(int(counts[pair]) for pair in pairs), int(counts.sum())
    title = f"Most frequent confusions: {of_pairs:,} of {total:,} mistakes on {len(labels):,} "
    title += "test images\nbetween typical images of both classes, with their confidence"
    return gallery(np.concatenate(shown), titles, most + 2, cell_inches=1.25, title=title)


def _most_confident(
    label: int, labels: Labels, predicted: Labels, confidence: NDArray[np.float32]
) -> int:
    """The row of a class that is predicted right with the highest confidence; -1 if none is."""
    rows = np.flatnonzero((labels == label) & (predicted == label))
    return int(rows[confidence[rows].argmax()]) if len(rows) else -1
