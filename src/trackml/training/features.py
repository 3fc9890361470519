"""Columns that are computed once, to train on: those of the training and of the validation rows."""

from dataclasses import replace

from trackml.data import TableData, TableSplit
from trackml.errors import UsageError
from trackml.models.features import NEAREST, Features, Kind, column_names, measure


def fit_features(kind: Kind, data: TableData) -> tuple[Features, TableData]:
    """Features of a kind, measured on the training rows, and the data to train on.

    These have the computed columns of the training and the validation rows, and no test rows. With
    `standard` there is nothing to compute: models standardize columns themselves.

    >>> from trackml.data import load
    >>> data = load("california_housing", limit=100)
    >>> features, computed = fit_features("quantile", data)
    >>> computed.train.features.shape, bool(abs(computed.train.features).max() < 4)
    ((100, 8), True)

    Raises:
        UsageError: there are too few training rows.
        ValueError: the data have texts or missing values, or lack a column that is needed.
    """
    if kind == "standard":
        return Features({}), data
    if data.categories or data.missing == "impute":
        raise ValueError(f"features {kind} are of numbers without gaps. Received: {data.name}")
    if len(data.train) <= max(NEAREST):
        raise UsageError(
            f"--features {kind}: expected more than {max(NEAREST)} training rows, "
            f"received {len(data.train)} (--limit)"
        )
    features, train = measure(kind, *data.train.arrays, data.columns)
    x, target = data.validation.arrays
    none = TableSplit(train[:0], data.test.target[:0])
    return features, replace(
        data,
        train=TableSplit(train, data.train.target),
        validation=TableSplit(features(x), target),
        test=none,
        columns=tuple(column_names(train.shape[1])),
    )
