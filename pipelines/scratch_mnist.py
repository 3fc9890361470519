"""Softmax regression and an MLP on MNIST in NumPy alone, gradients by hand.

mlflow run . -e scratch_mnist                # 20 epochs; test accuracy 0.9259 ± 0.0005 over 5 seeds
mlflow run . -e scratch_mnist -P model=mlp   # 20 epochs; test accuracy 0.9809 ± 0.0006 over 5 seeds

docs/backpropagation.md derives what it computes.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from trackml import params as base
from trackml.cli import command_line
from trackml.data import dataset
from trackml.frameworks import numpy as tk
from trackml.tasks import Task

TASK = Task(dataset("mnist"), framework="numpy")


class Params(base.AugmentParams, base.TrainingParams):
    """Parameters of `scratch_mnist`."""

    model: Literal["softmax", "mlp"] = Field(
        "softmax", description="softmax regression, or an MLP: hidden layers with ReLU before it"
    )
    hidden_units: Annotated[base.Widths, base.OnlyIf("model", ("mlp",))] = "128"
    epochs: base.Epochs = 20
    batch_size: base.BatchSize = 128
    learning_rate: base.LearningRate = 0.1
    momentum: float = Field(
        0.9, ge=0, lt=1, description="of SGD; 0 wants a larger learning rate: 0.5"
    )
    weight_decay: float = Field(
        0.0, ge=0, description="factor of the L2 penalty on all weights but the biases"
    )
    schedule: base.ScheduleName = "cosine"
    ema_decay: base.EmaDecay = 0.999
    label_smoothing: base.LabelSmoothing = 0.0
    target_loss: float = Field(
        0.0, ge=0, description="stop when the training loss is below it; 0 = never"
    )
    patience: base.Patience = 0


def main(params: Params, callbacks: tk.Callbacks = (), parent: tk.Parent = None) -> tk.Result:
    """Train softmax regression or an MLP on MNIST in NumPy, with every result tracked in MLflow."""
    data = TASK.load(params)
    architecture = f"scratch-{params.model}"
    with tk.tracked_run(TASK, params, data, architecture, callbacks, parent) as run:
        height, width = data.train.images.shape[1:]
        network = tk.dense_network(
            height * width,
            base.parse_widths(params.hidden_units) if params.model == "mlp" else (),
            classes=len(data.classes),
            # The epochs draw from (seed, 1), (seed, 2), ...
            random=tk.numpy.random.default_rng((params.seed, 0)),
        )
        untrained = [layer.W.copy() for layer in network]
        run.log_architecture(*tk.describe(network))
        history = tk.fit(
            network,
            data,
            params,
            optimizer=tk.SGD(network, params.momentum),
            weight_decay=params.weight_decay,
            schedule=tk.SCHEDULES[params.schedule],
            ema_decay=params.ema_decay,
            label_smoothing=params.label_smoothing,
            augment=params.augmentation,
            patience=params.patience,
            target_loss=params.target_loss,
            run=run,
        )
        trained = [layer.W for layer in network]
        run.log_report(tk.draw_weights(untrained, trained, (height, width), data.classes))
        examples = tk.examples(data.train, params.augmentation, params.seed)
        evaluate = partial(tk.evaluate_classifier, augmented=examples)
        return run.finish(network, history, evaluate, partial(tk.predict, network))


if __name__ == "__main__":
    command_line(main, Params)
