"""Figures on a suite: two factors, and the runs of each combination."""

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from trackml.evaluation.figures.canvas import canvas, grid, slant_labels


def heat_map(table: pd.DataFrame, rows: str, columns: str) -> Figure:
    """Mean best validation accuracy of each combination, its spread below it.

    Args:
        table: as `summarise` gives it. rows, columns: the factors.
    """
    means = table.pivot_table("best_val_accuracy_mean", rows, columns)
    stds = table.pivot_table("best_val_accuracy_std", rows, columns, dropna=False)
    stds = stds.reindex_like(means)
    texts = means.map("{:.4f}".format).where(
        stds.isna(), means.map("{:.4f}".format) + "\n" + stds.map("± {:.4f}".format)
    )
    figure, axes = canvas(3.2 + 1.3 * means.shape[1], 1.4 + 0.8 * means.shape[0])
    sns.heatmap(
        means,
        annot=texts.where(means.notna(), ""),
        fmt="",
        cmap="Blues",
        linewidths=0.5,
        cbar_kws={"label": "validation accuracy"},
        ax=axes,
    )
    axes.set(
        title=f"Best validation accuracy, {_of_how_many(table['n'])}",
        xlabel=columns,
        ylabel=rows,
    )
    slant_labels(axes)
    return figure


def validation_curves(trials: pd.DataFrame, panels: str, lines: str) -> Figure:
    """Validation accuracy per epoch: a panel per value of a factor, a line per value of the other.

    Bands are one standard deviation over seeds to each side.
    """
    values = trials[[panels, lines, "val_accuracy"]].explode("val_accuracy")
    values["epoch"] = values.groupby(level=0).cumcount() + 1
    values = values.astype({"val_accuracy": float}).reset_index(drop=True)
    names = list(dict.fromkeys(values[panels]))
    figure, cells = grid(1, len(names), width=1.5 + 3.2 * len(names), height=3.8)
    for axes, name in zip(cells[0], names, strict=True):
        sns.lineplot(
            values[values[panels] == name],
            x="epoch",
            y="val_accuracy",
            hue=lines,
            hue_order=sorted(set(values[lines])),
            style=lines,
            style_order=sorted(set(values[lines])),
            errorbar="sd",
            palette="colorblind",
            legend="auto" if name == names[-1] else False,
            ax=axes,
        )
        # From where the worst 15 % of all epochs are: first epochs would flatten the rest.
        axes.set(title=name, ylabel="", ylim=(values["val_accuracy"].quantile(0.15) - 0.002, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        axes.grid(alpha=0.25)
        sns.despine(ax=axes)
    top = max(axes.get_ylim()[1] for axes in cells[0])
    for axes in cells[0]:
        axes.set_ylim(top=top)
    cells[0, 0].set_ylabel("validation accuracy")
    cells[0, -1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    figure.suptitle(f"Validation accuracy, {_of_how_many(trials.groupby([panels, lines]).size())}")
    return figure


def _of_how_many(runs: "pd.Series[int]") -> str:
    """Of how many runs figures are, which need not be as many for each combination."""
    least, most = int(runs.min()), int(runs.max())
    if most == 1:
        return "one run each (n = 1)"
    return f"mean ± std over seeds (n = {most if least == most else f'{least} to {most}'})"
