"""Figures on the epochs of a run."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trackml.evaluation.figures.axes import (
    FIRST,
    LEGEND_ABOVE,
    LEGEND_RIGHT,
    SECOND,
    THIRD,
    finish,
    grid,
)
from trackml.history import History
from trackml.metrics import LOSS, METRICS

MAX_MARKERS = 100  # of a curve; more would be a broad line


def learning_curves(history: History, labels: Mapping[str, str] = {}) -> Figure | None:
    """Loss and metric per epoch, for training and validation, with the best epoch marked.

    None if there were no epochs.

    Args:
        labels: quantity → what the axis says of it, with its unit.
    """
    if not history.is_iterative:
        return None
    figure, cells = grid(1, 2, width=11, height=4.2)
    metrics = [history.metric, *METRICS.values()]
    metric = next(each for each in metrics if each != LOSS and f"val_{each}" in history.best)
    for axes, quantity in zip(cells[0], ("loss", str(metric)), strict=True):
        _curves(axes, history, quantity)
        number, best = history.best_epoch, history.best[f"val_{quantity}"]
        axes.axvline(number, color="0.6", linestyle="--", linewidth=1, zorder=0)
        label = f"best {history.step} {number}: val {best:.4f}"
        # Behind the curve, whose only point it would hide.
        axes.plot(number, best, "*", markersize=17, color=THIRD, label=label, zorder=1.5)
        if history.initial:  # as a point of the curve it would flatten the rest
            untrained = history.initial[f"val_{quantity}"]
            axes.plot([], [], linestyle="none", label=f"before training: val {untrained:.4f}")
        axes.margins(0.08)  # else a star in a corner is cut
        look = {"xlabel": history.step, "ylabel": labels.get(quantity, quantity)}
        finish(axes, LEGEND_ABOVE | {"ncols": 2}, lines=True, epochs=True, **look)
    return figure


def losses(history: History) -> Figure:
    """The parts of a loss per epoch, for training and validation."""
    parts = [name.removeprefix("train_") for name in history.rows[0] if "train_loss_" in name]
    figure, cells = grid(1, len(parts), width=0.9 + 3.3 * len(parts), height=3.4)
    for axes, part in zip(cells[0], parts, strict=True):
        _curves(axes, history, part)
        axes.set_ylim(*(axes.get_ylim()[1] * edge for edge in (-0.02, 1.05)))  # from 0
        legend = LEGEND_RIGHT if part == parts[-1] else None
        finish(axes, legend, lines=True, epochs=True, title=part, xlabel="epoch")
    cells[0, 0].set_ylabel("mean over images")
    return figure


def _curves(axes: Axes, history: History, quantity: str) -> None:
    for split, color in (("train", FIRST), ("val", SECOND)):
        name = f"{split}_{quantity}"
        values = [row[name] for row in history.rows if name in row]
        if values:  # a detector's precision is computed on validation data only
            epochs = range(1, len(values) + 1)
            size = 3 if len(values) > 3 else 6  # alone, a small one is overlooked
            marker = "o" if len(values) <= MAX_MARKERS else ""
            axes.plot(epochs, values, color=color, marker=marker, markersize=size, label=split)
