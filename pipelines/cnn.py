"""Convolutional network in PyTorch on MNIST: four variants, three optimisers.

mlflow run . -e cnn            # 49 s on 2 cores; test accuracy 0.9923 ± 0.0003 over 3 seeds
"""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field

from trackml.cli import command_line
from trackml.data import load
from trackml.fields import BatchSize, Dropout, Epochs, OptimizerName, ScheduleName, Variant
from trackml.params import TorchParams

if TYPE_CHECKING:
    from trackml.history import EpochHook
    from trackml.tracking.run import Result

LEARNING_RATES: Mapping[OptimizerName, float] = {"adam": 0.001, "sgd": 0.025, "rmsprop": 0.001}
ONE_CYCLE_PEAK = 2  # of one_cycle, as a multiple of those


class CommonParams(TorchParams):
    """What `cnn` and `cnn_suite` have in common."""

    epochs: Epochs = 8
    batch_size: BatchSize = 64
    learning_rate: float = Field(
        0.0,
        ge=0,
        description="step size of the optimiser; 0 = what suits it: "
        + ", ".join(f"{rate} for {name}" for name, rate in LEARNING_RATES.items())
        + ", twice that at the peak of one_cycle",
    )
    conv_layers: int = Field(2, ge=2, le=3, description="number of convolutions")
    weight_decay: float = Field(0.0, ge=0, description="factor of the L2 penalty on all weights")
    dropout: Dropout = Field(
        0.3, description="rate after the dense layer, of variants with it; half after each pooling"
    )
    schedule: ScheduleName = "one_cycle"


class Params(CommonParams):
    """Parameters of `cnn`."""

    variant: Variant = Field("plain", description="what is added to convolution, ReLU and pooling")
    optimizer: OptimizerName = Field(
        "adam", description="update rule; sgd has a Nesterov momentum of 0.9"
    )

    @property
    def suitable_rate(self) -> float:
        """The learning rate that was asked for, else the one that suits optimiser and schedule."""
        peak = ONE_CYCLE_PEAK if self.schedule == "one_cycle" else 1
        return self.learning_rate or peak * LEARNING_RATES[self.optimizer]


def main(params: Params, on_epoch: "EpochHook | None" = None) -> "Result":
    """Train a convolutional network on MNIST, with every result tracked in MLflow."""
    # Loaded now, not on top: --help, and a mistake, must not wait for PyTorch.
    import torch

    from trackml.evaluation.classification import evaluate_classifier
    from trackml.evaluation.graph import draw_graph
    from trackml.models.torch import describe, mnist_cnn, with_probabilities
    from trackml.seeding import seed_everything
    from trackml.tracking.run import tracked_run
    from trackml.training.schedules import SCHEDULES
    from trackml.training.torch import OPTIMIZERS, fit, predict, resolve_device

    params = params.model_copy(update={"learning_rate": params.suitable_rate})
    resolve_device(params.device)  # one that is not there is refused before a run is made
    data = load("mnist", params.validation_split, params.limit)
    with tracked_run(
        params,
        data,
        framework="torch",
        architecture="cnn",
        aliases=[f"cnn-{params.variant}"],
    ) as run:
        seed_everything(params.seed)
        network = mnist_cnn(
            len(data.classes),
            params.variant,
            conv_layers=params.conv_layers,
            dropout=params.dropout,
        )
        example = torch.zeros((2, 28, 28), dtype=torch.uint8)
        run.log_architecture(*describe(network, example))
        run.log_report(draw_graph(network, example))
        optimizer = OPTIMIZERS[params.optimizer](
            network.parameters(), weight_decay=params.weight_decay
        )
        history = fit(
            network,
            data,
            params,
            optimizer=optimizer,
            schedule=SCHEDULES[params.schedule],
            hooks=[run.log_epoch, on_epoch],
        )
        report = run.evaluate(evaluate_classifier, partial(predict, network), data, history)
        return run.log_result(with_probabilities(network), history, report)


if __name__ == "__main__":
    command_line(main, Params)
