"""A first look at a table, before anything is trained on it."""

import numpy as np
import pandas as pd

from trackml.data import TableData
from trackml.evaluation.figures.tables import correlations
from trackml.evaluation.report import Report


def explore(data: TableData) -> Report:
    """The statistics of each column, and their correlations, over the training rows alone."""
    columns = [*data.columns, data.target_name]
    table = pd.DataFrame(np.column_stack(data.train.arrays).astype(np.float64), columns=columns)
    statistics = table.describe().T.rename_axis("column")
    return Report(
        texts={"reports/feature_statistics.csv": statistics.to_csv(float_format="%.6g")},
        figures={"figures/correlations.png": correlations(table)},
    )
