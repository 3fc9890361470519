"""A pipeline as a user writes one: softmax regression in NumPy, on a few images of two classes."""

from __future__ import annotations

from functools import partial

import numpy as np

from trackml import params as base
from trackml.data import ImageData
from trackml.frameworks import numpy as tk
from trackml.tasks import Task


class Params(base.TrainingParams):
    """Parameters of `own`."""

    epochs: base.Epochs = 2
    batch_size: base.BatchSize = 20
    learning_rate: base.LearningRate = 0.5


def load(params: Params) -> ImageData:
    """Images whose upper half is bright, or their lower half."""
    labels = np.arange(120) % 2
    images = np.random.default_rng(0).integers(50, size=(120, 8, 8), dtype=np.uint8)  # no two equal
    images[labels == 0, :4] += 150
    images[labels == 1, 4:] += 150
    train, test = (images[:80], labels[:80]), (images[80:], labels[80:])
    return ImageData.from_arrays("halves", train, test, classes=("up", "down"))


TASK = Task(load, framework="numpy")


def main(params: Params, callbacks: tk.Callbacks = (), parent: tk.Parent = None) -> tk.Result:
    """Tell bright upper halves from lower ones."""
    data = TASK.load(params)
    with tk.tracked_run(TASK, params, data, "softmax", callbacks, parent) as run:
        network = tk.dense_network(64, (), classes=2, random=tk.numpy.random.default_rng(0))
        history = tk.fit(network, data, params, optimizer=tk.SGD(network), run=run)
        return run.finish(network, history, tk.evaluate_classifier, partial(tk.predict, network))
