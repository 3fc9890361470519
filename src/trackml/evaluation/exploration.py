"""Statistics of a table before training."""

from functools import partial

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from trackml.data import TableData
from trackml.evaluation.figures.axes import FIRST, MANY, canvas, finish, heat_map, shortened
from trackml.evaluation.report import Report

MAX_COLUMNS = 100  # whose correlations are drawn


def explore(data: TableData) -> Report:
    """Statistics of the columns and the target, over the training rows only.

    Of numbers the mean, spread and quantiles, and their correlations; of texts how many different
    ones there are, and the most frequent; of all how many values are missing. The target's
    distribution is drawn.
    """
    return Report(
        texts={"reports/feature_statistics.csv": partial(_statistics, data)},
        figures={
            "figures/correlations.png": partial(_correlations, data),
            "figures/target.png": partial(plot_target, data),
        },
    )


def _table(data: TableData) -> pd.DataFrame:
    """The training rows: numbers float64, texts and classes as objects."""
    features, target = data.train.arrays
    table = data.as_frame(features)
    numbers = [name for name in data.columns if name not in data.categories]
    table = table.astype(dict.fromkeys(numbers, np.float64))
    classes = np.array(data.classes, object)
    target = classes[target] if data.classes else target.astype(np.float64)
    return pd.concat([table, pd.Series(target, name=data.target_name)], axis=1)


def _statistics(data: TableData) -> str:
    table = _table(data)
    kinds = (table.select_dtypes("number"), table.select_dtypes(exclude="number"))
    parts = [part.describe().T.infer_objects() for part in kinds if part.shape[1]]
    statistics = pd.concat(parts).reindex(table.columns)
    statistics.insert(1, "missing", table.isna().sum())
    words = {"unique": "distinct", "top": "most_frequent", "freq": "most_frequent_count"}
    return statistics.rename(columns=words).rename_axis("column").to_csv(float_format="%.6g")


def _correlations(data: TableData) -> Figure | None:
    numbers = _table(data).select_dtypes("number")
    if numbers.shape[1] < 2:
        return None
    title = f"Correlations over {len(data.train):,} training rows"
    if numbers.shape[1] > MAX_COLUMNS:
        title += f", of the last {MAX_COLUMNS} of {numbers.shape[1]:,} columns"
    numbers = numbers.iloc[:, -MAX_COLUMNS:].rename(columns=shortened)
    values = numbers.corr().round(2) + 0.0  # no -0.00
    few = len(values) <= MANY
    upper = np.triu(np.ones_like(values, dtype=bool), k=1)
    texts = {"annot": few, "fmt": ".2f", "annot_kws": {"size": 9}}
    side, label = 1.8 + (0.68 if few else 0.24) * len(values), "Pearson's correlation"
    figure, axes = heat_map(values, side, label, vmin=-1, cmap="vlag", mask=upper, **texts)
    axes.set(title=title)
    return figure


def plot_target(data: TableData) -> Figure:
    """How often each class, or value of the target, is in the training rows."""
    target, rows = data.train.target, f"{len(data.train):,} training rows"
    if data.classes:
        counts = np.bincount(target, minlength=len(data.classes))
        figure, axes = canvas(7.5, 1.2 + (0.38 if len(counts) <= MANY else 0.22) * len(counts))
        sns.barplot(x=counts, y=list(data.classes), color=FIRST, ax=axes)
        axes.set_yticks(range(len(counts)), [shortened(name) for name in data.classes])
        for position, count in enumerate(counts):
            share = f" {count:,} ({count / len(target):.1%})"
            axes.text(count, position, share, va="center", fontsize=9)
        limit = (0, 1.2 * counts.max())  # with room for the texts
        finish(axes, xlim=limit, title=f"{data.target_name} in {rows}", xlabel="rows", ylabel="")
        return figure
    figure, axes = canvas(7.5, 4.2)
    sns.histplot(x=target, bins=60, color=FIRST, edgecolor="white", linewidth=0.3, ax=axes)
    title = f"mean {target.mean():.3g}, median {np.median(target):.3g}, of {rows}"
    quantity = f"{data.target_name} ({data.unit})" if data.unit else data.target_name
    finish(axes, title=title, xlabel=quantity, ylabel="training rows")
    return figure
