"""California house prices from eight columns: a dense regression in Keras.

mlflow run . -e housing        # 18 s on 2 cores; test RMSE 0.5137 ± 0.0026 over 5 seeds
mlflow run . -e housing -P features=quantile    # 17 s; 0.4948 ± 0.0061
mlflow run . -e housing -P features=piecewise   # 19 s; 0.4743 ± 0.0021
mlflow run . -e housing -P features=neighbours  # 28 s; 0.4054 ± 0.0023
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trackml import params as base
from trackml.cli import command_line
from trackml.data import dataset
from trackml.frameworks import keras as tk
from trackml.metrics import MAE
from trackml.tasks import Task

TASK = Task(dataset("california_housing"), framework="keras", metric=MAE)


class Params(base.KerasParams):
    """Parameters of `housing`."""

    features: base.Features = "standard"
    epochs: base.Epochs = 80
    batch_size: base.BatchSize = 64
    learning_rate: base.LearningRate = 0.01
    optimizer: base.OptimizerName = Field(
        "adamw", description="update rule; sgd has a Nesterov momentum of 0.9"
    )
    schedule: base.ScheduleName = "cosine"
    ema_decay: base.EmaDecay = 0.998
    target: Literal["standardized", "raw"] = Field(
        "standardized", description="what the dense layers learn; losses are in the raw unit"
    )
    hidden_units: base.Widths = "64,32"
    dropout: base.Dropout = 0.0
    activation: base.Activation = "relu"
    patience: base.Patience = 0
    validation_split: base.HeldOut = 0.2
    precision: base.Precision = Field(
        "float32",
        description="arithmetic of the training steps; bfloat16 is slower with small layers",
    )


def main(params: Params, callbacks: tk.Callbacks = (), parent: tk.Parent = None) -> tk.Result:
    """Train a dense network on California housing, with every result tracked in MLflow."""
    data = TASK.load(params)
    features, computed = tk.fit_features(params.features, data)
    with tk.tracked_run(TASK, params, data, "dense", callbacks, parent) as run:
        run.log_report(tk.explore(data))
        tk.seed_everything(params.seed)
        scaler = tk.StandardScaler().fit(computed.train.features)
        network = tk.dense_regressor(
            scaler.mean_,
            scaler.scale_,
            base.parse_widths(params.hidden_units),
            activation=params.activation,
            dropout=params.dropout,
            target=data.train.target if params.target == "standardized" else None,
        )
        run.log_architecture(*tk.describe(network))
        history = tk.fit(
            network,
            computed,
            params,
            optimizer=tk.OPTIMIZERS[params.optimizer](),
            schedule=tk.SCHEDULES[params.schedule],
            ema_decay=params.ema_decay,
            rank_by=tk.LOSS,
            patience=params.patience,
            run=run,
        )
        model = tk.with_features(network, features, data.columns)
        return run.finish(model, history, tk.evaluate_regressor, tk.predictor(model))


if __name__ == "__main__":
    command_line(main, Params)
