"""California house prices from eight columns: boosted trees in scikit-learn.

mlflow run . -e housing_trees  # 20 s on 2 cores; test RMSE 0.4418 ± 0.0017 over 5 seeds
mlflow run . -e housing_trees -P features=neighbours  # 27 s; 0.3957 ± 0.0007
"""

from __future__ import annotations

from pydantic import Field

from trackml import params as base
from trackml.cli import command_line
from trackml.data import dataset
from trackml.frameworks import sklearn as tk
from trackml.metrics import MAE
from trackml.tasks import Task

TASK = Task(dataset("california_housing"), framework="sklearn", metric=MAE)


class Params(base.PipelineParams):
    """Parameters of `housing_trees`."""

    features: base.Features = "standard"
    iterations: int = Field(3000, ge=1, description="trees at most; the best number is kept")
    learning_rate: float = Field(0.03, gt=0, description="factor of each tree's contribution")
    leaves: int = Field(63, ge=2, description="leaves of a tree at most")
    l2: float = Field(1.0, ge=0, description="factor of the L2 penalty on the values of leaves")
    max_features: float = Field(
        0.5, gt=0, le=1, description="fraction of the columns that a split chooses from, at random"
    )
    patience: int = Field(
        50, ge=0, description="stop after so many iterations without a better one; 0 = never"
    )
    validation_split: base.HeldOut = 0.2


def main(params: Params, callbacks: tk.Callbacks = (), parent: tk.Parent = None) -> tk.Result:
    """Fit boosted trees to California housing, with every result tracked in MLflow."""
    data = TASK.load(params)
    features, computed = tk.fit_features(params.features, data)
    with tk.tracked_run(TASK, params, data, "boosted-trees", callbacks, parent) as run:
        run.log_report(tk.explore(data))
        model = tk.HistGradientBoostingRegressor(
            max_iter=params.iterations,
            learning_rate=params.learning_rate,
            max_leaf_nodes=params.leaves,
            l2_regularization=params.l2,
            max_features=params.max_features,
            early_stopping=params.patience > 0,
            n_iter_no_change=max(1, params.patience),
        )
        history = tk.fit(model, computed, params, rank_by=tk.LOSS, run=run)
        run.log_architecture(*tk.describe(model))
        model = tk.with_features(model, features)
        return run.finish(model, history, tk.evaluate_regressor, tk.predictor(model, data))


if __name__ == "__main__":
    command_line(main, Params)
