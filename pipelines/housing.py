"""California house prices from eight columns: a dense regression in Keras.

mlflow run . -e housing        # half a minute on 2 cores
"""

from typing import TYPE_CHECKING

from pydantic import Field

from trackml.cli import command_line
from trackml.data import load
from trackml.params import DenseParams, Precision, Widths, widths

if TYPE_CHECKING:
    from trackml.history import EpochHook
    from trackml.tracking.run import Result


class Params(DenseParams):
    """Parameters of `housing`."""

    epochs: int = Field(100, ge=1, description="passes over the training data")
    batch_size: int = Field(32, ge=1, description="rows per optimiser step")
    learning_rate: float = Field(0.001, gt=0, description="step size of Adam")
    validation_split: float = Field(
        0.2, gt=0, lt=1, description="share of the training rows held out, from their end"
    )
    precision: Precision = Field(
        "float32", description="arithmetic of the training steps; layers as small gain no time"
    )
    hidden_units: Widths = Field("64,32", description="units of each hidden layer, such as 64,32")


def main(params: Params, on_epoch: "EpochHook | None" = None) -> "Result":
    """Train a dense network on California housing, with every result tracked in MLflow."""
    data = load("california_housing", params.validation_split, params.limit)

    # Loaded now, not on top: --help, and a mistake, must not wait for TensorFlow.
    from sklearn.preprocessing import StandardScaler

    from trackml.evaluation.regression import evaluate_regressor, explore
    from trackml.models.keras import dense_regressor, describe, with_named_columns
    from trackml.seeding import seed_everything
    from trackml.tensorflow import keras
    from trackml.tracking.run import tracked_run
    from trackml.training.keras import fit, predict
    from trackml.training.loop import REGRESSION

    with tracked_run(params, data, framework="keras", architecture="dense") as run:
        run.log_report(explore(data))
        seed_everything(params.seed)
        scaler = StandardScaler().fit(data.train.features)
        model = dense_regressor(
            scaler.mean_,
            scaler.scale_,
            widths(params.hidden_units),
            activation=params.activation,
            dropout=params.dropout,
        )
        run.log_architecture(*describe(model))
        history = fit(
            model,
            data,
            params,
            optimizer=keras.optimizers.Adam(params.learning_rate),
            objective=REGRESSION,
            patience=params.patience,
            hooks=[run.log_epoch, on_epoch],
        )
        report = evaluate_regressor(predict(model, data.test.features), data, history)
        return run.log_result(with_named_columns(model, data.columns), history, report)


if __name__ == "__main__":
    command_line(main, Params)
