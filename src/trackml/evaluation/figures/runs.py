"""Figures on the epochs of a run."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trackml.evaluation.figures.axes import FIRST, SECOND, THIRD, finish, grid
from trackml.history import History
from trackml.metrics import LOSS, METRICS


def learning_curves(history: History) -> Figure | None:
    """Loss and metric per epoch, for training and validation, with the best epoch marked.

    None if there were no epochs.
    """
    if not history.is_iterative:
        return None
    figure, cells = grid(1, 2, width=11, height=4.2)
    metrics = [history.metric, *METRICS.values()]
    metric = next(each for each in metrics if each != LOSS and f"val_{each}" in history.best)
    for axes, quantity in zip(cells[0], ("loss", str(metric)), strict=True):
        _curves(axes, history, quantity)
        epoch, best = history.best_epoch, history.best[f"val_{quantity}"]
        axes.axvline(epoch, color="0.6", linestyle="--", linewidth=1, zorder=0)
        label = f"best epoch {epoch}: val {best:.4f}"
        axes.plot(epoch, best, "*", markersize=14, color=THIRD, label=label)
        if history.initial:  # as a point of the curve it would flatten the rest
            untrained = history.initial[f"val_{quantity}"]
            axes.plot([], [], linestyle="none", label=f"before training: val {untrained:.4f}")
        finish(axes, {}, lines=True, epochs=True, title=quantity, xlabel="epoch")
    return figure


def losses(history: History) -> Figure:
    """The parts of a loss per epoch, for training and validation."""
    parts = [name.removeprefix("train_") for name in history.rows[0] if "train_loss_" in name]
    figure, cells = grid(1, len(parts), width=3.4 * len(parts), height=3.4)
    for axes, part in zip(cells[0], parts, strict=True):
        _curves(axes, history, part)
        axes.margins(y=0.1)
        finish(axes, lines=True, epochs=True, title=part, xlabel="epoch", ylim=(0, None))
    cells[0, 0].legend(frameon=False)
    return figure


def _curves(axes: Axes, history: History, quantity: str) -> None:
    for split, color in (("train", FIRST), ("val", SECOND)):
        name = f"{split}_{quantity}"
        values = [row[name] for row in history.rows if name in row]
        if values:  # a detector's precision is computed on validation data only
            epochs = range(1, len(values) + 1)
            axes.plot(epochs, values, color=color, marker="o", markersize=3, label=split)
