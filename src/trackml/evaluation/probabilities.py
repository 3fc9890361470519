"""Figures of class probabilities: how well they rank inputs, and whether they can be believed."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import betaincinv
from sklearn.calibration import calibration_curve
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

from trackml.evaluation.figures.axes import (
    FIRST,
    LEGEND_ABOVE,
    LEGEND_RIGHT,
    SECOND,
    finish,
    grid,
    shortened,
)

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]

BINS = 15  # of confidence, as Guo et al. (2017) have it
MAX_COLORS = 10  # classes whose curves can be told apart
WORST = 5  # classes that are shown among more
MAX_CLASSES = 200  # whose curves are drawn
ENLARGED = 4  # times as far from the corner as the worst class's point of equal errors
_SHARES = (-0.02, 1.02)  # limits that cut nothing at 0 and 1


class Reliability(NamedTuple):
    """The bins of confidence, the probability of the predicted class, that have rows: (bins,)."""

    confidence: Floats  # mean
    accuracy: Floats
    rows: NDArray[np.int64]

    @property
    def expected_error(self) -> float:
        """Expected calibration error: the mean over rows of |accuracy - confidence| of their bin.

        As Guo et al., On Calibration of Modern Neural Networks, ICML 2017, define it.
        """
        gaps = np.abs(self.accuracy - self.confidence)
        return float(np.average(gaps, weights=self.rows))


def reliability(probabilities: Floats, labels: Labels) -> Reliability:
    """How often predictions are right that are so confident, in 15 bins of equal width.

    >>> sure = np.full((4, 2), [0.9, 0.1])
    >>> round(reliability(sure, np.array([0, 0, 0, 1])).expected_error, 2)
    0.15

    Args:
        probabilities: (N, C). labels: (N,).
    """
    right = probabilities.argmax(axis=1) == labels
    confidence = np.clip(probabilities.max(axis=1).astype(np.float64), 0, 1)
    accuracy, mean = calibration_curve(right, confidence, pos_label=True, n_bins=BINS)
    inner = np.linspace(0, 1, BINS + 1)[1:-1]
    rows = np.bincount(np.searchsorted(inner, confidence), minlength=BINS)
    return Reliability(mean, accuracy, rows[rows > 0])


def plot_calibration(bins: Reliability, kind: str = "images") -> Figure:
    """A reliability diagram: accuracy over confidence, and how many rows have it.

    Args:
        kind: what is classified.
    """
    figure, ((diagram, counts),) = grid(1, 2, width=10.5, height=4.6)
    confidence, accuracy, rows = bins
    right = accuracy * rows
    # Jeffreys' interval of a proportion: wide where there are few rows.
    low, high = (betaincinv(right + 0.5, rows - right + 0.5, tail) for tail in (0.025, 0.975))
    bars = np.maximum([accuracy - low, high - accuracy], 0)
    diagram.plot(
        [0, 1], [0, 1], color="0.5", linestyle="--", linewidth=1, label="accuracy = confidence"
    )
    look = {"fmt": "o", "markersize": 5, "color": FIRST, "clip_on": False}
    diagram.errorbar(confidence, accuracy, bars, **look, label="accuracy, 95 % interval")
    diagram.set(aspect="equal", ylim=_SHARES)
    legend = LEGEND_ABOVE | {"ncols": 2}
    labels: Any = {"xlabel": "confidence: probability of the predicted class", "xlim": _SHARES}
    finish(diagram, legend, lines=True, ylabel="accuracy", **labels)
    counts.bar((np.floor(confidence * BINS - 1e-9) + 0.5) / BINS, rows, 0.94 / BINS, color=FIRST)
    counts.set(yscale="log", ylim=(0.5, 2 * rows.max()))
    mean = np.average(confidence, weights=rows)
    counts.axvline(mean, color=SECOND, linestyle="--", label=f"mean confidence {mean:.1%}")
    finish(counts, LEGEND_ABOVE, ylabel=f"test {kind}, on a log scale", **labels)
    score = f"accuracy {right.sum() / rows.sum():.1%} on {rows.sum():,} test {kind}"
    figure.suptitle(f"Expected calibration error {bins.expected_error:.4f}; {score}")
    return figure


class _Class(NamedTuple):
    """The curves of a class against the rest."""

    name: str
    roc: tuple[Floats, Floats]  # false and true positive rates
    precision_recall: tuple[Floats, Floats]  # recalls and precisions
    area: float
    average_precision: float


def plot_curves(
    probabilities: Floats, labels: Labels, classes: Sequence[str], kind: str = "images"
) -> Figure | None:
    """ROC and precision-recall of each class against the rest, good ones enlarged.

    Of more than 10 classes the 5 with the lowest average precision have colors. None if no class
    has rows that are of it, and others.

    Args:
        probabilities: (N, C). labels: (N,). kind: what is classified.
    """
    every = list(_one_versus_rest(probabilities, labels, classes))
    if not every:
        return None
    worst = sorted(every, key=lambda each: each.average_precision)[:WORST]
    named = every if len(every) <= MAX_COLORS else worst
    colors = dict(zip((each.name for each in named), sns.color_palette("colorblind"), strict=False))
    others = [each for each in every if each.name not in colors]
    figure, ((roc, precision),) = grid(1, 2, width=12.5, height=4.9)
    for each in [*others, *named]:
        shown = each.name in colors
        text = f"{shortened(each.name, 18)}: {each.area:.4f}, {each.average_precision:.4f}"
        look = {"color": colors.get(each.name, "0.75"), "linewidth": 1.5 if shown else 0.8}
        roc.plot(*each.roc, **look)
        precision.plot(*each.precision_recall, drawstyle="steps-post", **look, label=text)
    roc.plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=1)
    roc.set(xlabel="false positive rate", ylabel="true positive rate")
    precision.set(xlabel="recall", ylabel="precision")
    reach = _reach([(false, 1 - true) for false, true in (each.roc for each in every)])
    _enlarge(roc, (0, reach), (1 - reach, 1))
    errors = [(1 - each.precision_recall[0], 1 - each.precision_recall[1]) for each in every]
    reach = _reach(errors)
    _enlarge(precision, (1 - reach, 1), (1 - reach, 1))
    finish(roc, lines=True, title="ROC; dashed: chance")
    handles, texts = precision.get_legend_handles_labels()
    if others:  # one entry for all of them, at the end
        handles, texts = [*handles[len(others) :], handles[0]], texts[len(others) :]
        texts.append(f"{len(others)} others, which are better")
    legend = LEGEND_RIGHT | {
        "title": "class: ROC AUC, average precision",
        "fontsize": 9,
        "alignment": "left",
    }
    legend |= {"handles": handles, "labels": texts}
    finish(precision, legend, lines=True, title="precision and recall")
    some = f" ({MAX_CLASSES} of {len(classes):,})" if len(classes) > MAX_CLASSES else ""
    title = f"Each class against the rest{some}, on {len(labels):,} test {kind}"
    figure.suptitle(title)
    return figure


def _reach(errors: Sequence[tuple[Floats, Floats]]) -> float:
    """How far from the corner without errors to show curves of two kinds of errors: at most 1."""
    reach = 0.0
    for one, other in errors:
        equal = np.argmin(np.abs(one - other))
        reach = max(reach, ENLARGED * one[equal], ENLARGED * other[equal])
    return reach if 0 < reach < 0.5 else 1.0


def _enlarge(axes: Axes, x: tuple[float, float], y: tuple[float, float]) -> None:
    """Show these limits, with room so that no line is cut at an edge of its range."""
    room = 0.02 * (x[1] - x[0])
    axes.set(xlim=(x[0] - room, x[1] + room), ylim=(y[0] - room, y[1] + room))


def _one_versus_rest(probabilities: Floats, labels: Labels, classes: Sequence[str]) -> list[_Class]:
    curves = []
    for index, name in enumerate(classes[:MAX_CLASSES]):
        is_class, scores = labels == index, probabilities[:, index]
        if not 0 < is_class.sum() < len(labels):
            continue
        false, true, _ = roc_curve(is_class, scores)
        precision, recall, _ = precision_recall_curve(is_class, scores, drop_intermediate=True)
        average = float(average_precision_score(is_class, scores))
        area = float(auc(false, true))
        curves.append(_Class(name, (false, true), (recall, precision), area, average))
    return curves
