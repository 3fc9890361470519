"""How much a model's answers depend on each column of a table."""

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from trackml.data import TableData
from trackml.evaluation.figures.axes import FIRST, MANY, canvas, finish, shortened
from trackml.metrics import regression_metrics, score_classes

Array = NDArray[Any]
Predict = Callable[[Array], Array]

REPEATS = 3  # permutations of each column
MAX_PREDICTIONS = 6_000  # of all columns together: thousands of trees take 0.1 ms for each
MIN_ROWS, MAX_ROWS = 20, 500  # of the validation data, drawn at random
MAX_COLUMNS = 200  # of a table that is examined


class _Fitted:
    """A model as scikit-learn takes one."""

    def __init__(self, predict: Predict) -> None:
        self.predict = predict

    def fit(self) -> None:
        """Nothing: it is fitted."""


def permutation_importance(predict: Predict, data: TableData) -> tuple[Array, int]:
    """How much worse the scores of validation rows are if the values of a column are shuffled.

    Breiman, Random Forests, Machine Learning 45, 2001. The test rows have no part in it.

    Args:
        predict: features (N, columns), as `data` has them → answers (N, outputs).

    Returns:
        The rise of the RMSE, in the target's unit, or of the loss, in nats, of classes: (columns,
        3), one per permutation; and how many rows were used.
    """
    from sklearn import inspection  # takes a while to import

    features, target = data.validation.arrays
    rows = max(MIN_ROWS, min(MAX_ROWS, MAX_PREDICTIONS // (REPEATS * len(data.columns))))
    chosen = np.random.default_rng(0).permutation(len(target))[:rows]

    def score(model: _Fitted, inputs: Array, targets: Array) -> float:
        answers = model.predict(inputs)
        if data.classes:
            return -score_classes(answers, targets)["loss"]
        return -regression_metrics(answers, targets)["rmse"]

    result = inspection.permutation_importance(
        _Fitted(predict),
        features[chosen],
        target[chosen],
        scoring=score,
        n_repeats=REPEATS,
        random_state=0,
    )
    return result.importances, len(chosen)


def plot_importance(predict: Predict, data: TableData) -> Figure | None:
    """The columns that matter most, by `permutation_importance`, with the spread over repeats.

    None of a table with more than 200 columns: it would take too long.
    """
    if len(data.columns) > MAX_COLUMNS:
        return None
    rises, rows = permutation_importance(predict, data)
    means, stds = rises.mean(axis=1), rises.std(axis=1)
    order = np.argsort(-means, kind="stable")[:MANY]
    names = [shortened(data.columns[index]) for index in order]
    figure, axes = canvas(7.5, 1.5 + 0.3 * len(order))
    axes.barh(range(len(order)), means[order], xerr=stds[order], color=FIRST, capsize=3)
    axes.axvline(0, color="0.3", linewidth=1)
    axes.set_yticks(range(len(order)), names)
    axes.invert_yaxis()
    axes.margins(y=0.02)
    few = f", the first {MANY} of {len(means):,} columns" if len(means) > MANY else ""
    quantity = f"RMSE ({data.unit})" if data.unit else "RMSE"
    label = f"rise of the {'loss (nats)' if data.classes else quantity} if the column is shuffled"
    title = f"Importance on {rows:,} validation rows, mean ± std of {REPEATS} permutations{few}"
    finish(axes, lines=True, title=title, xlabel=label)
    return figure
