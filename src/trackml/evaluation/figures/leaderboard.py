"""Figures on configurations side by side."""

from collections.abc import Mapping, Sequence

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from trackml.evaluation.figures.canvas import FIRST, SECOND, canvas, grid


def ranking(table: pd.DataFrame, names: Sequence[str], score: str) -> Figure:
    """Configurations by rank: validation and test means, with the interval of the test mean.

    Args:
        table: as `trackml.leaderboard.rank` gives it.
        names: of its rows.
    """
    figure, axes = canvas(9, 1.4 + 0.32 * len(table))
    places = range(len(table))
    axes.errorbar(
        table["test_mean"],
        places,
        xerr=(table["test_high"] - table["test_mean"]).fillna(0),
        fmt="o",
        color=FIRST,
        capsize=3,
        label="test, with the 95 % interval of the mean where n > 1",
    )
    axes.plot(
        table["val_mean"], places, "D", color=SECOND, markersize=4, label="validation: it ranks"
    )
    labels = [f"{name}, n = {n}" for name, n in zip(names, table["n"], strict=True)]
    axes.set_yticks(places, labels)
    axes.set(xlabel=score, ylim=(len(table) - 0.5, -0.5))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
    sns.despine(ax=axes)
    return figure


def curves(by_name: Mapping[str, Mapping[int, float]], score: str) -> Figure:
    """Validation scores per epoch, a curve for each name."""
    figure, axes = canvas(9, 4.8)
    colours = sns.color_palette("colorblind", len(by_name))
    for (name, curve), colour in zip(by_name.items(), colours, strict=True):
        epochs = [epoch for epoch in curve if epoch]  # not of the untrained model
        values = [curve[epoch] for epoch in epochs]
        axes.plot(epochs, values, color=colour, marker="o", markersize=3, label=name)
    axes.set(xlabel="epoch", ylabel=f"validation {score}", title="The best run of each, by rank")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.25)
    if by_name:
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    sns.despine(ax=axes)
    return figure


def cost(table: pd.DataFrame, score: str) -> Figure:
    """Test scores against what training, answering and keeping a model cost; points have ranks."""
    panels = (
        ("epoch_seconds", "seconds per epoch", 1.0),
        ("prediction_seconds_per_1000", "seconds per 1,000 answers", 1.0),
        ("model_size_bytes", "size of the model, MB", 1e-6),
    )
    figure, cells = grid(1, len(panels), width=13, height=4.2)
    for axes, (name, label, unit) in zip(cells[0], panels, strict=True):
        known = table[table[name] > 0]
        axes.plot(known[name] * unit, known["test_mean"], "o", color=FIRST)
        for _, row in known.iterrows():
            axes.annotate(
                str(row["rank"]),
                (row[name] * unit, row["test_mean"]),
                (4, 4),
                textcoords="offset points",
                fontsize=8,
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.15)
        axes.set(xlabel=label)
        axes.grid(alpha=0.25)
        sns.despine(ax=axes)
    cells[0, 0].set_ylabel(f"test {score}")
    figure.suptitle("What it costs: each point is a configuration, by its rank")
    return figure
