"""Three wide convolutions with batch normalization in PyTorch on MNIST, augmented and averaged.

mlflow run . -e cnn_best   # 7 min on 2 cores; test accuracy 0.9965 ± 0.0005 over 5 seeds
"""

from __future__ import annotations

from functools import partial

from pydantic import Field

from trackml import params as base
from trackml.cli import command_line
from trackml.data import dataset
from trackml.frameworks import torch as tk
from trackml.tasks import Task

TASK = Task(dataset("mnist"), framework="torch")


class Params(base.AugmentParams, base.TorchParams):
    """Parameters of `cnn_best`."""

    epochs: base.Epochs = 20
    batch_size: base.BatchSize = 64
    learning_rate: base.LearningRate = 0.003
    filters: int = Field(
        32,
        ge=1,
        le=512,
        description="channels of the first convolution; each other one has twice as many",
    )
    dropout: base.Dropout = Field(
        0.3, description="rate after the dense layer; half of it after each pooling"
    )
    weight_decay: float = Field(0.01, ge=0, description="of AdamW")
    schedule: base.ScheduleName = "one_cycle"
    ema_decay: base.EmaDecay = 0.999
    label_smoothing: base.LabelSmoothing = 0.0
    augment: base.Augment = True


def main(params: Params, callbacks: tk.Callbacks = (), parent: tk.Parent = None) -> tk.Result:
    """Train three convolutions with batch norm on MNIST, with every result tracked in MLflow."""
    tk.resolve_device(params.device)  # one that is not there is refused before a run is made
    data = TASK.load(params)
    with tk.tracked_run(TASK, params, data, "cnn-best", callbacks, parent) as run:
        tk.seed_everything(params.seed)
        network = tk.mnist_cnn(
            len(data.classes),
            conv_layers=3,
            filters=params.filters,
            dropout=params.dropout,
            batch_norm=True,
        )
        example = tk.torch.zeros((2, 28, 28), dtype=tk.torch.uint8)
        run.log_architecture(*tk.describe(network, example))
        run.log_report(tk.draw_graph(network, example, run.caption))
        optimizer = tk.OPTIMIZERS["adamw"](network.parameters(), weight_decay=params.weight_decay)
        history = tk.fit(
            network,
            data,
            params,
            optimizer=optimizer,
            schedule=tk.SCHEDULES[params.schedule],
            ema_decay=params.ema_decay,
            label_smoothing=params.label_smoothing,
            augment=params.augmentation,
            run=run,
        )
        examples = tk.examples(data.train, params.augmentation, params.seed)
        evaluate = partial(tk.evaluate_classifier, augmented=examples)
        predict = partial(tk.predict, network)
        return run.finish(tk.with_probabilities(network), history, evaluate, predict)


if __name__ == "__main__":
    command_line(main, Params)
