"""Figures on tables."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from trackml.evaluation.figures.canvas import canvas, slant_labels


def correlations(table: pd.DataFrame) -> Figure:
    """Pearson's correlation of each pair of columns."""
    values = table.corr().round(2) + 0.0  # no -0.00
    side = 1.8 + 0.68 * len(values)
    figure, axes = canvas(side + 0.8, side)
    sns.heatmap(
        values,
        mask=np.triu(np.ones_like(values, dtype=bool), k=1),
        annot=True,
        fmt=".2f",
        annot_kws={"size": 9},
        vmin=-1,
        vmax=1,
        cmap="vlag",
        linewidths=0.5,
        square=True,
        cbar_kws={"label": "Pearson's correlation", "shrink": 0.8},
        ax=axes,
    )
    axes.set(title=f"Correlations over {len(table):,} training rows")
    slant_labels(axes)
    return figure
