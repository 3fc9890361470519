"""Figures on the trials of a sweep."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from trackml.evaluation.figures.canvas import FIRST, SECOND, canvas
from trackml.history import HIGHER_IS_BETTER, Metric
from trackml.space import Choices, Space, WholeRange, shown

_WORST = 0.2  # share of the trials that all have the colour of the worst: they would hide the rest


def history(tried: pd.DataFrame, metric: Metric) -> Figure:
    """The score of each trial, in the order of their end, and the best so far.

    Args:
        tried: as `trackml.evaluation.sweep.tabulate` gives it.
    """
    score = f"best_val_{metric}"
    trials = tried[tried[score].notna()].sort_values("trial")
    finished, pruned = (trials[trials["state"] == state] for state in ("finished", "pruned"))
    known = trials[score].where(trials["state"] == "finished")
    best = known.cummax() if HIGHER_IS_BETTER[metric] else known.cummin()
    figure, axes = canvas(8, 4.4)
    axes.step(trials["trial"], best.ffill(), where="post", color=FIRST, label="best so far")
    axes.plot(finished["trial"], finished[score], "o", color=FIRST, markersize=5, label="finished")
    if len(pruned):
        # After an epoch or two scores are so far away that they would flatten what matters.
        margin = (finished[score].max() - finished[score].min()) or 0.01
        edges = finished[score].min() - margin, finished[score].max() + margin
        seen = pruned[score].clip(*edges)
        axes.plot(
            pruned["trial"], seen, "x", color=SECOND, label="pruned; far off ones\nat the edge"
        )
    axes.set(
        xlabel="trial",
        ylabel=f"best validation {metric}",
        title=f"{len(finished)} trials finished" + f", {len(pruned)} pruned" * bool(len(pruned)),
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    sns.despine(ax=axes)
    return figure


def parallel_coordinates(tried: pd.DataFrame, space: Space, metric: Metric) -> Figure:
    """A line per finished trial through its parameters to its score; the best is drawn last.

    Args:
        tried: as `trackml.evaluation.sweep.tabulate` gives it.
    """
    score = f"best_val_{metric}"
    worst_first = tried[tried["state"] == "finished"][::-1]
    scores = worst_first[score].to_numpy(float)
    heights = [_heights(worst_first[name], one) for name, one in space.items()]
    low, high = scores.min(), scores.max()
    span = high - low or 1.0
    lines = np.stack([*heights, (scores - low) / span], axis=1)  # (trials, axes), 0 to 1
    figure, axes = canvas(2.2 + 1.9 * len(space), 4.6)
    visible = sorted([np.quantile(scores, _WORST), np.quantile(scores, 1 - _WORST)])
    bounds = (visible[0], high) if HIGHER_IS_BETTER[metric] else (low, visible[1])
    colours = ScalarMappable(Normalize(*bounds), "viridis" + _reversed(metric))
    for line, value in zip(lines, scores, strict=True):
        axes.plot(line, color=colours.to_rgba(value), linewidth=1.6, alpha=0.85)
    for place, (name, one) in enumerate(space.items()):
        for height, text in _ticks(one):
            _label(axes, place, height, text)
        axes.text(place, 1.06, name, ha="center", weight="bold")
    last = len(space)
    for height in np.linspace(0, 1, 5):
        _label(axes, last, height, f"{low + height * span:.4f}")
    axes.text(last, 1.06, f"validation {metric}", ha="center", weight="bold")
    axes.vlines(range(last + 1), 0, 1, color="black", linewidth=0.8)
    axes.set(xlim=(-0.15, last + 0.45), ylim=(-0.04, 1.14))
    axes.axis("off")
    figure.colorbar(colours, ax=axes, label=f"best validation {metric}", extend=_extended(metric))
    return figure


def importances(shares: Mapping[str, float], metric: Metric, n: int) -> Figure:
    """What share of the differences between n trials each parameter explains, the most first."""
    figure, axes = canvas(7, 1.3 + 0.45 * len(shares))
    bars = axes.barh(list(shares), list(shares.values()), color=FIRST)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.invert_yaxis()
    axes.set(
        xlim=(0, 1.08),
        xlabel="share of the variance that it explains",
        title=f"What changed the validation {metric} of {n} trials",
    )
    sns.despine(ax=axes)
    return figure


def _heights(values: "pd.Series[Any]", one: Any) -> NDArray[np.float64]:
    """Where values are on their axis, 0 to 1."""
    if isinstance(one, Choices):
        indices = {value: index for index, value in enumerate(one.values)}
        return values.map(indices).to_numpy(float) / max(1, len(one) - 1)
    scale = np.log if one.log else np.asarray
    low, high = float(scale(one.low)), float(scale(one.high))
    heights: NDArray[np.float64] = (scale(values.to_numpy(float)) - low) / (high - low)
    return heights


def _ticks(one: Any) -> list[tuple[float, str]]:
    """Heights on an axis and what to write there."""
    if isinstance(one, Choices):
        return [(i / max(1, len(one) - 1), shown(value)) for i, value in enumerate(one.values)]
    numbers = [one.at(share) for share in (0.0, 0.25, 0.5, 0.75)] + [one.high]
    series = pd.Series(list(dict.fromkeys(numbers)))
    heights = _heights(series, one)
    whole = isinstance(one, WholeRange)
    texts = (shown(value) if whole else f"{value:.3g}" for value in series)
    return [(float(height), text) for height, text in zip(heights, texts, strict=True)]


def _label(axes: Any, place: float, height: float, text: str) -> None:
    axes.text(
        place + 0.03,
        height,
        text,
        va="center",
        fontsize=8,
        bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1},
        zorder=3,
    )


def _reversed(metric: Metric) -> str:
    """Bright is good."""
    return "" if HIGHER_IS_BETTER[metric] else "_r"


def _extended(metric: Metric) -> str:
    return "min" if HIGHER_IS_BETTER[metric] else "max"
