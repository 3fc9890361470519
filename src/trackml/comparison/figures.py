"""Figures of configurations side by side, from rankings and from tables of models."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from trackml.evaluation.figures.axes import (
    FIRST,
    LEGEND_ABOVE,
    LEGEND_RIGHT,
    SECOND,
    canvas,
    finish,
    grid,
)
from trackml.metrics import LATENCY, Metric

_CHARACTER, _LINE = 0.02, 0.05  # of a label, as shares of a panel's sides


def ranking(table: pd.DataFrame, names: Sequence[str], metric: Metric, total: int) -> Figure:
    """Validation and test means by rank, with the interval of the test mean.

    Args:
        total: how many configurations there are, with those that are not shown.
    """
    lines = max(name.count("\n") for name in names) + 1
    figure, axes = canvas(11, 1.7 + (0.18 + 0.14 * lines) * len(table))
    rows = range(len(table))
    half = (table["test_high"] - table["test_mean"]).fillna(0)
    label = "test, with the 95 % interval of the mean where n > 1"
    axes.errorbar(table["test_mean"], rows, None, half, "o", color=FIRST, capsize=3, label=label)
    label = "validation: it ranks"
    # Above the other, which equal scores would be hidden by.
    axes.plot(table["val_mean"], rows, "D", color=SECOND, markersize=4, zorder=3, label=label)
    texts = [f"{name}, n = {n}" for name, n in zip(names, table["n"], strict=True)]
    axes.set_yticks(rows, texts, fontsize=8.5, ma="left")
    axes.set_ylim(len(table) - 0.5, -0.5)
    means = pd.concat([table["test_mean"], table["val_mean"]]).dropna()
    low, high = means.min(), means.max()
    if low < high:  # all points, but not all of an interval of two runs, which would pale the rest
        edges, room = axes.get_xlim(), 0.5 * (high - low)
        axes.set_xlim(max(edges[0], low - room), min(edges[1], high + room))
    finish(axes, LEGEND_ABOVE, lines=True, xlabel=str(metric))
    some = f"the first {len(table)} of {total:,}" if total > len(table) else f"{total:,}"
    figure.suptitle(f"Configurations, ranked by {metric} on validation: {some}")
    return figure


def curves(by_name: Mapping[str, Mapping[int, float]], metric: Metric) -> Figure:
    """Validation scores per epoch, a curve for each name."""
    figure, axes = canvas(12, 4.8)
    colors = sns.color_palette("colorblind", len(by_name))
    # Of equal curves the first ones, drawn below the others, stay visible.
    widths = np.linspace(4, 1.5, len(by_name))
    for (name, curve), color, width in zip(by_name.items(), colors, widths, strict=True):
        epochs = [epoch for epoch in curve if epoch]  # 0 is the untrained model
        values = [curve[epoch] for epoch in epochs]
        look = {"color": color, "linewidth": width, "marker": "o", "markersize": 3 + width}
        axes.plot(epochs, values, **look, label=name)
    axes.set(xlabel="epoch", ylabel=f"validation {metric}", title="The best run of each, by rank")
    legend = LEGEND_RIGHT | {"fontsize": 8.5} if by_name else None
    finish(axes, legend, lines=True, epochs=True)
    return figure


def cost(table: pd.DataFrame, metric: Metric) -> Figure:
    """Test scores over what training, predicting and storing cost, each point with its rank."""
    panels = (
        ("epoch_seconds", "seconds per epoch", 1.0),
        (LATENCY, "seconds per 1,000 answers", 1.0),
        ("model_size_bytes", "size of the model, MB", 1e-6),
    )
    figure, cells = grid(1, len(panels), width=13, height=4.2)
    for axes, (name, label, unit) in zip(cells[0], panels, strict=True):
        known = table[(table[name] > 0) & table["test_mean"].notna()]  # trials have no test scores
        costs, scores = known[name] * unit, known["test_mean"]
        axes.plot(costs, scores, "o", color=FIRST)
        _scale_by_powers(axes, costs)
        axes.margins(x=0.15)
        finish(axes, lines=True, xlabel=label)
        for text, point in _labels(axes, known["rank"], costs, scores):
            axes.annotate(text, point, (4, 4), textcoords="offset points", fontsize=8)
    cells[0, 0].set_ylabel(f"test {metric}")
    figure.suptitle("What it costs: each point is a configuration, by its rank")
    return figure


def _labels(
    axes: Axes, numbers: Iterable[int], xs: Iterable[float], ys: Iterable[float]
) -> list[tuple[str, tuple[float, float]]]:
    """A text for each point and its place; points too close for texts of their own share one."""
    axes.autoscale_view()  # matplotlib would set the limits when it draws
    to_axes = axes.transScale + axes.transLimits
    groups = [([number], (x, y)) for number, x, y in zip(numbers, xs, ys, strict=True)]

    def overlap(one: tuple[list[int], Any], other: tuple[list[int], Any]) -> bool:
        (left, low), (right, high) = (to_axes.transform(point) for _, point in (one, other))
        first = one if left <= right else other
        width = _CHARACTER * (1 + len(ranges(first[0])))
        return bool(abs(left - right) < width and abs(low - high) < _LINE)

    while pair := next((pair for pair in combinations(groups, 2) if overlap(*pair)), None):
        (numbers, place), (more, other) = pair
        groups = [each for each in groups if each not in pair]
        groups.append(([*numbers, *more], max(place, other)))  # to the right of both
    return [(ranges(numbers), place) for numbers, place in groups]


def ranges(numbers: Iterable[int]) -> str:
    """Numbers as ranges.

    >>> ranges([4, 1, 2, 3, 7])
    '1-4, 7'
    """
    ordered = sorted(numbers)
    starts = [n for n in ordered if n - 1 not in ordered]
    ends = [n for n in ordered if n + 1 not in ordered]
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def models(table: pd.DataFrame) -> Figure:
    """Scores of models with their spread, and their costs."""
    panels = (
        ("test_accuracy_mean", "test accuracy", ".4f"),
        ("test_f1_macro_mean", "macro F1 on the test set", ".4f"),
        ("seconds_mean", "seconds of training and validation", ",.0f"),
        ("parameters", "trained parameters", ",.0f"),
    )
    figure, cells = grid(1, len(panels), width=14, height=1.4 + 0.45 * len(table))
    rows = range(len(table))
    for axes, (name, title, spec) in zip(cells[0], panels, strict=True):
        stds = table[name.replace("_mean", "_std")].fillna(0) if "_mean" in name else None
        axes.errorbar(table[name], rows, None, stds, "o", color=FIRST, capsize=3)
        texts = {"textcoords": "offset points", "ha": "center", "fontsize": 8}
        for row, value in enumerate(table[name]):
            axes.annotate(format(value, spec), (value, row), (0, 6), **texts)
        axes.set_yticks(rows, [""] * len(table))
        if spec != ".4f":
            _scale_by_powers(axes, table[name])
        axes.margins(x=0.2)
        finish(axes, lines=True, title=title, ylim=(len(table) - 0.5, -0.6))
    names = zip(table["model"], table["n"], strict=True)
    cells[0, 0].set_yticklabels([f"{name}, n = {n}" for name, n in names])
    return figure


def _scale_by_powers(axes: Axes, values: "pd.Series[float]") -> None:
    """A logarithmic x axis whose ticks are plain numbers, also within a power of ten."""
    width = values.max() / values.min() if len(values) else 1.0
    axes.set_xscale("log")
    subs = (1, 2, 5) if width <= 10 else (1, 3) if width <= 100 else (1,)
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1e6:g}M" if x >= 1e6 else f"{x:,.12g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def bars(values: pd.DataFrame) -> Figure:
    """Bars side by side, of metrics (rows) and architectures (columns)."""
    figure, axes = canvas(1.8 + 0.9 * len(values), 4.2)
    long = values.melt(ignore_index=False, var_name="architecture", value_name="value")
    long = long.reset_index(names="metric")
    sns.barplot(long, x="metric", y="value", hue="architecture", palette="colorblind", ax=axes)
    for container in axes.containers:
        axes.bar_label(container, fmt="%.3f", fontsize=8, padding=2)  # type: ignore[arg-type]
    legend = LEGEND_ABOVE | {"ncols": len(values.columns)}
    finish(axes, legend, xlabel="", ylabel="on the test set", ylim=(0, 1.05))
    return figure
