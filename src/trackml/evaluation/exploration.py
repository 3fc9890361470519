"""Statistics of a table before training."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from trackml.data import TableData
from trackml.evaluation.figures.axes import heat_map
from trackml.evaluation.report import Report


def explore(data: TableData) -> Report:
    """The statistics of each column, and their correlations, over the training rows only."""
    return Report(
        texts={"reports/feature_statistics.csv": partial(_statistics, data)},
        figures={"figures/correlations.png": partial(_correlations, data)},
    )


def _table(data: TableData) -> pd.DataFrame:
    columns = [*data.columns, data.target_name]
    return pd.DataFrame(np.column_stack(data.train.arrays).astype(np.float64), columns=columns)


def _statistics(data: TableData) -> str:
    return _table(data).describe().T.rename_axis("column").to_csv(float_format="%.6g")


def _correlations(data: TableData) -> Figure:
    values = _table(data).corr().round(2) + 0.0  # no -0.00
    upper = np.triu(np.ones_like(values, dtype=bool), k=1)
    texts = {"annot": True, "fmt": ".2f", "annot_kws": {"size": 9}}
    side, label = 1.8 + 0.68 * len(values), "Pearson's correlation"
    figure, axes = heat_map(values, side, label, vmin=-1, cmap="vlag", mask=upper, **texts)
    axes.set(title=f"Correlations over {len(data.train):,} training rows")
    return figure
