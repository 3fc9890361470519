"""Training in NumPy: what other frameworks do not have."""

import numpy as np
import pytest
import torch

from tests.pipelines.expected import without_times
from tests.training.examples import dense_classifier, train
from tests.training.recorder import Recorder
from trackml.data import ImageData
from trackml.metrics import score_classes
from trackml.models import mlp
from trackml.models.mlp import Layer
from trackml.training.loop import by_split
from trackml.training.numpy import SGD


def test_the_history_begins_with_the_untrained_network(blobs: ImageData) -> None:
    run, network = Recorder(), dense_classifier()
    history = train("numpy", blobs, run=run).history
    train_scores, val_scores = (
        score_classes(mlp.predict(network, split.images), split.labels)
        for split in (blobs.train, blobs.validation)
    )
    assert history.initial == by_split(train_scores, val_scores) == run.metrics[0]
    assert run.epochs == [0, 1, 2, 3]
    assert len(history.rows) == 3


def test_training_stops_when_its_loss_is_low_enough(blobs: ImageData) -> None:
    whole = train("numpy", blobs, epochs=10).history
    losses = [row["train_loss"] for row in whole.rows]
    target = (losses[3] + losses[4]) / 2
    history = train("numpy", blobs, epochs=10, target_loss=target).history
    assert without_times(history) == without_times(whole)[:5]
    assert "--target_loss" in history.stopped
    assert not whole.stopped


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_steps_are_those_of_torch(momentum: float) -> None:
    ours = dense_classifier()
    theirs = [torch.tensor(array.copy()) for array in mlp.arrays(ours).values()]
    optimizer, reference = SGD(ours, momentum), torch.optim.SGD(theirs, lr=0.1, momentum=momentum)
    random = np.random.default_rng(1)
    for _ in range(5):
        gradients = tuple(
            Layer(random.normal(size=layer.W.shape), random.normal(size=layer.b.shape))
            for layer in ours
        )
        for weight, array in zip(theirs, mlp.arrays(gradients).values(), strict=True):
            weight.grad = torch.tensor(array, dtype=torch.float32)
        optimizer.step(gradients, 0.1)
        reference.step()
    for array, weight in zip(mlp.arrays(ours).values(), theirs, strict=True):
        np.testing.assert_allclose(array, weight.numpy(), rtol=1e-4, atol=1e-5)


def test_weight_decay_keeps_weights_small(blobs: ImageData) -> None:
    free, decayed = (train("numpy", blobs, weight_decay=decay).model for decay in (0.0, 0.1))
    for small, large in zip(decayed, free, strict=True):
        assert np.linalg.norm(small.W) < np.linalg.norm(large.W)
