"""Figures of the trials of a sweep, `tried` as `report.tabulate` returns them, and of a suite."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from optuna.distributions import CategoricalDistribution, IntDistribution

from trackml.evaluation.figures import axes as style
from trackml.evaluation.figures.axes import FIRST, SECOND, canvas, finish
from trackml.evaluation.report import with_spread
from trackml.metrics import Metric
from trackml.sweeps.space import Distribution, Space, shown, value_at

MAX_SHOWN_WHOLE = 5  # epochs
_WORST = 0.2  # share of the trials that have the color of the worst: they would hide the others


def history(tried: pd.DataFrame, metric: Metric) -> Figure:
    """The score of each trial in the order of their end, and the best so far."""
    score = f"best_val_{metric}"
    trials = tried[tried[score].notna()].sort_values("trial")
    finished, pruned = (trials[trials["state"] == state] for state in ("finished", "pruned"))
    scores = trials[score].where(trials["state"] == "finished")
    best = scores.cummax() if metric.higher_is_better else scores.cummin()
    figure, axes = canvas(8, 4.4)
    axes.step(trials["trial"], best.ffill(), where="post", color=FIRST, label="best so far")
    axes.plot(finished["trial"], finished[score], "o", color=FIRST, markersize=5, label="finished")
    title = f"{len(finished)} of {len(tried)} trials finished"
    if len(pruned):
        # Scores after an epoch or two are so far off that they would flatten the others.
        low, high = finished[score].min(), finished[score].max()
        margin = (high - low) or 0.01
        clipped = pruned[score].clip(low - margin, high + margin)
        label = "pruned; far off ones\nat the edge"
        axes.plot(pruned["trial"], clipped, "x", color=SECOND, label=label)
        title += f", {len(pruned)} pruned"
    labels = {"xlabel": "trial", "ylabel": f"best validation {metric}", "title": title}
    finish(axes, style.LEGEND_RIGHT, lines=True, epochs=True, **labels)
    return figure


def parallel_coordinates(tried: pd.DataFrame, space: Space, metric: Metric) -> Figure:
    """A line per finished trial through its parameters to its score; the best is drawn last."""
    trials = tried[tried["state"] == "finished"][::-1]
    scores = trials[f"best_val_{metric}"].to_numpy(float)
    low, span = scores.min(), np.ptp(scores)  # without a span, there is one tick and no color bar
    coordinates = {name: _coordinate(one, trials[name]) for name, one in space.items()}
    heights = (scores - low) / span if span else np.full(len(scores), 0.5)
    shares = np.linspace(0, 1, 5) if span else [0.5]
    ticks = [(share, f"{low + share * span:.4f}") for share in shares]
    coordinates[f"validation {metric}"] = heights, ticks
    figure, axes = canvas(2.2 + 1.9 * len(space), 4.6)
    best, worst, palette, extend = (
        (scores.max(), np.quantile(scores, _WORST), "viridis", "min")
        if metric.higher_is_better
        else (scores.min(), np.quantile(scores, 1 - _WORST), "viridis_r", "max")
    )
    colors = ScalarMappable(Normalize(*sorted((worst, best))), palette)  # bright is good
    lines = np.stack([heights for heights, _ in coordinates.values()], axis=1)  # (trials, axes)
    for line, color in zip(lines, colors.to_rgba(scores), strict=True):
        axes.plot(line, color=color, linewidth=1.6, alpha=0.85)
    box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1}
    for place, (name, (_, ticks)) in enumerate(coordinates.items()):
        axes.text(place, 1.06, name, ha="center", weight="bold")
        for height, text in ticks:
            axes.text(place + 0.03, height, text, va="center", fontsize=8, bbox=box, zorder=3)
    axes.vlines(range(len(coordinates)), 0, 1, color="black", linewidth=0.8)
    axes.set(xlim=(-0.15, len(space) + 0.45), ylim=(-0.04, 1.14))
    axes.axis("off")
    if span:
        figure.colorbar(colors, ax=axes, label=f"best validation {metric}", extend=extend)
    return figure


def _coordinate(
    one: Distribution, values: Iterable[Any]
) -> tuple[NDArray[np.float64], list[tuple[float, str]]]:
    """Where values are on the axis of their distribution, 0 to 1, and the axis' ticks."""
    if isinstance(one, CategoricalDistribution):
        heights = np.arange(len(one.choices)) / max(1, len(one.choices) - 1)
        ticks = list(zip(heights, map(shown, one.choices), strict=True))
        return heights[[one.choices.index(value) for value in values]], ticks
    scale = np.log if one.log else np.asarray
    low, high = float(scale(one.low)), float(scale(one.high))

    def heights_of(numbers: ArrayLike) -> NDArray[np.float64]:
        heights: NDArray[np.float64] = (scale(np.asarray(numbers, float)) - low) / (high - low)
        return heights

    numbers = [value_at(one, share) for share in (0.0, 0.25, 0.5, 0.75)]
    numbers = list(dict.fromkeys([*numbers, one.high]))
    spec = "d" if isinstance(one, IntDistribution) else ".3g"
    texts = [format(number, spec) for number in numbers]
    return heights_of(list(values)), list(zip(heights_of(numbers), texts, strict=True))


def importances(shares: Mapping[str, float], metric: Metric, n: int) -> Figure:
    """The share of the differences between n trials that each parameter explains."""
    figure, axes = canvas(7, 1.3 + 0.45 * len(shares))
    bars = axes.barh(list(shares), list(shares.values()), color=FIRST)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.invert_yaxis()
    title = f"What changed the validation {metric} of {n} trials"
    finish(axes, xlim=(0, 1.08), xlabel="share of the variance that it explains", title=title)
    return figure


def heat_map(table: pd.DataFrame, rows: str, columns: str) -> Figure:
    """Mean best validation accuracy of each combination, its standard deviation below it.

    Args:
        table: as `report.summarize` returns it. rows, columns: its factors.
    """
    means, stds = table["best_val_accuracy_mean"], table["best_val_accuracy_std"]
    texts = [with_spread(*scores).replace(" ±", "\n±") for scores in zip(means, stds, strict=True)]
    cells = table.assign(score=means, text=texts).pivot_table(
        ["score", "text"], rows, columns, aggfunc="first"
    )
    width, height = len(set(table[columns])), len(set(table[rows]))
    figure, axes = canvas(3.2 + 1.3 * width, 1.4 + 0.8 * height)
    sns.heatmap(
        cells["score"].astype(float),
        annot=cells["text"].fillna(""),
        fmt="",
        cmap="Blues",
        linewidths=0.5,
        cbar_kws={"label": "validation accuracy"},
        ax=axes,
    )
    title = f"Best validation accuracy, {_count_of(table['n'])}"
    axes.set(title=title, xlabel=columns, ylabel=rows)
    style.slant_labels(axes)
    return figure


def validation_curves(trials: pd.DataFrame, panels: str, lines: str) -> Figure:
    """Validation accuracy per epoch: a panel per value of a factor, a line per value of the other.

    Bands are one standard deviation over seeds to each side.
    """
    epochs = trials[[panels, lines, "val_accuracy"]].explode("val_accuracy")
    epochs["epoch"] = epochs.groupby(level=0).cumcount() + 1
    epochs = epochs.astype({"val_accuracy": float}).reset_index(drop=True)
    # From where the worst 15 % of all epochs are: first epochs would flatten the others.
    is_short = epochs["epoch"].max() <= MAX_SHOWN_WHOLE
    bottom = None if is_short else epochs["val_accuracy"].quantile(0.15) - 0.002
    names, order = list(dict.fromkeys(epochs[panels])), sorted(set(epochs[lines]))
    figure, cells = style.grid(1, len(names), width=1.5 + 3.2 * len(names), height=3.8)
    for axes, name in zip(cells[0], names, strict=True):
        sns.lineplot(
            epochs[epochs[panels] == name],
            x="epoch",
            y="val_accuracy",
            hue=lines,
            hue_order=order,
            style=lines,
            style_order=order,
            errorbar="sd",
            palette="colorblind",
            markers=True,
            markersize=5,
            legend="auto" if name == names[-1] else False,
            ax=axes,
        )
        finish(axes, lines=True, epochs=True, title=name, ylabel="", ylim=(bottom, None))
    low, high = np.transpose([axes.get_ylim() for axes in cells[0]])
    for axes in cells[0]:
        axes.set_ylim(low.min(), high.max())
    cells[0, 0].set_ylabel("validation accuracy")
    cells[0, -1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    counts = _count_of(trials.groupby([panels, lines]).size())
    cut = "" if is_short else "; the lowest scores are below the axes"
    figure.suptitle(f"Validation accuracy, {counts}{cut}")
    return figure


def _count_of(runs: "pd.Series[int]") -> str:
    """The number of runs per combination, which may differ, in words."""
    low, high = int(runs.min()), int(runs.max())
    if high == 1:
        return "one run each (n = 1)"
    return f"mean ± std over seeds (n = {high if low == high else f'{low} to {high}'})"
