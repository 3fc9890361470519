"""Figures on runs: one by itself, or several side by side."""

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from trackml.evaluation.figures.canvas import FIRST, SECOND, THIRD, canvas, grid
from trackml.history import History


def learning_curves(history: History) -> Figure:
    """Loss and metric per epoch, for training and validation, with the best epoch marked."""
    epochs = range(1, len(history.rows) + 1)
    figure, cells = grid(1, 2, width=11, height=4.2)
    for axes, quantity in zip(cells[0], ("loss", history.metric), strict=True):
        for split, colour in (("train", FIRST), ("val", SECOND)):
            values = [
                row[f"{split}_{quantity}"] for row in history.rows if f"{split}_{quantity}" in row
            ]
            if not values:
                continue  # a detector's precision is known of validation only
            axes.plot(epochs, values, color=colour, marker="o", markersize=3, label=split)
        best = history.best[f"val_{quantity}"]
        axes.axvline(history.best_epoch, color="0.6", linestyle="--", linewidth=1, zorder=0)
        axes.plot(
            history.best_epoch,
            best,
            marker="*",
            markersize=14,
            color=THIRD,
            linestyle="none",
            label=f"best epoch {history.best_epoch}: val {best:.4f}",
        )
        if history.initial:  # as a curve's first point it would flatten all that follows
            untrained = history.initial[f"val_{quantity}"]
            axes.plot([], [], linestyle="none", label=f"before training: val {untrained:.4f}")
        axes.set(title=quantity, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
        sns.despine(ax=axes)
    return figure


def losses(history: History) -> Figure:
    """The parts of a loss per epoch, for training and validation."""
    parts = [name.removeprefix("train_") for name in history.rows[0] if "train_loss_" in name]
    epochs = range(1, len(history.rows) + 1)
    figure, cells = grid(1, len(parts), width=3.4 * len(parts), height=3.4)
    for axes, part in zip(cells[0], parts, strict=True):
        for split, colour in (("train", FIRST), ("val", SECOND)):
            values = [row[f"{split}_{part}"] for row in history.rows]
            axes.plot(epochs, values, color=colour, marker="o", markersize=3, label=split)
        axes.margins(y=0.1)
        axes.set(title=part, xlabel="epoch")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
        axes.grid(alpha=0.25)
        sns.despine(ax=axes)
    cells[0, 0].legend(frameon=False)
    return figure


def models(table: pd.DataFrame) -> Figure:
    """How good models are, with their spread, and what they cost.

    Args:
        table: a row per model: model; n; test_accuracy, test_f1_macro and seconds, each with _mean
            and _std; parameters.
    """
    panels = (
        ("test_accuracy", "test accuracy"),
        ("test_f1_macro", "macro F1 on the test set"),
        ("seconds", "seconds of training and validation"),
        ("parameters", "trained parameters"),
    )
    figure, cells = grid(1, len(panels), width=14, height=1.4 + 0.45 * len(table))
    positions = range(len(table))
    names = [f"{row['model']}, n = {row['n']}" for _, row in table.iterrows()]
    for axes, (name, title) in zip(cells[0], panels, strict=True):
        if name == "parameters":
            values, spread = table[name], None
        else:
            values, spread = table[f"{name}_mean"], table[f"{name}_std"].fillna(0)
        axes.errorbar(values, positions, xerr=spread, fmt="o", color=FIRST, capsize=3)
        for position, value in zip(positions, values, strict=True):
            text = f"{value:.4f}" if name.startswith("test") else f"{value:,.0f}"
            axes.annotate(
                text, (value, position), (0, 6), textcoords="offset points", ha="center", fontsize=8
            )
        axes.set(title=title, ylim=(len(table) - 0.5, -0.6))
        axes.set_yticks(positions, names if axes is cells[0, 0] else [""] * len(table))
        if not name.startswith("test"):
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.2)
        axes.grid(alpha=0.25)
        sns.despine(ax=axes)
    return figure


def comparison(values: pd.DataFrame) -> Figure:
    """Bars side by side.

    Args:
        values: a row per metric, a column per architecture.
    """
    figure, axes = canvas(1.8 + 0.9 * len(values), 4.2)
    long = values.melt(ignore_index=False, var_name="architecture", value_name="value")
    sns.barplot(
        long.reset_index(names="metric"),
        x="metric",
        y="value",
        hue="architecture",
        palette="colorblind",
        ax=axes,
    )
    for bars in axes.containers:
        axes.bar_label(bars, fmt="%.3f", fontsize=8, padding=2)  # type: ignore[arg-type]
    axes.set(xlabel="", ylabel="on the test set", ylim=(0, 1.05))
    axes.legend(frameon=False, ncols=len(values.columns), loc="lower left", bbox_to_anchor=(0, 1))
    sns.despine(ax=axes)
    return figure
