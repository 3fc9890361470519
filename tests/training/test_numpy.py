"""Training in NumPy: what is kept, what repeats, what ends it."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.pipelines.expected import without_times
from trackml.data import ImageData
from trackml.evaluation.metrics import score_classes
from trackml.fields import BatchSize, Epochs, LearningRate
from trackml.history import History, NonFiniteLoss
from trackml.models import mlp
from trackml.models.mlp import Layer, Network
from trackml.models.numpy import dense_network
from trackml.params import TrainingParams
from trackml.training.numpy import SGD, fit


class Example(TrainingParams):
    epochs: Epochs = 3
    batch_size: BatchSize = 16
    learning_rate: LearningRate = 0.1


def untrained(widths: tuple[int, ...] = (16,)) -> Network:
    """For the images of `blobs`: 9 x 9 pixels, 3 classes."""
    return dense_network(81, widths, classes=3, random=np.random.default_rng(0))


def trained(
    data: ImageData,
    *,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    target_loss: float = 0.0,
    hooks: list[Any] | None = None,
    **values: Any,
) -> tuple[Network, History]:
    network = untrained()
    history = fit(
        network,
        data,
        Example.parse(values),
        optimizer=SGD(network, momentum),
        weight_decay=weight_decay,
        target_loss=target_loss,
        hooks=hooks or [],
    )
    return network, history


def scores(network: Network, data: ImageData) -> dict[str, float]:
    validation = data.validation
    return score_classes(mlp.predict(network, validation.images), validation.labels)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_it_learns(blobs: ImageData, momentum: float) -> None:
    _, history = trained(blobs, epochs=20, momentum=momentum)
    assert history.best["val_accuracy"] > 0.95
    assert history.rows[-1]["train_loss"] < history.rows[0]["train_loss"] / 2


def test_the_history_begins_with_the_untrained_network(blobs: ImageData) -> None:
    seen: list[tuple[int, dict[str, float]]] = []
    _, history = trained(blobs, hooks=[lambda epoch, row: seen.append((epoch, dict(row)))])
    expected = scores(untrained(), blobs)
    assert history.initial["val_loss"] == expected["loss"]
    assert history.initial["val_accuracy"] == expected["accuracy"]
    answers = mlp.predict(untrained(), blobs.train.images)
    of_training = score_classes(answers, blobs.train.labels)
    assert history.initial["train_loss"] == of_training["loss"]
    assert history.initial["train_accuracy"] == of_training["accuracy"]
    assert [epoch for epoch, _ in seen] == [0, 1, 2, 3]
    assert seen[0][1] == history.initial
    assert len(history.rows) == 3


def test_the_kept_weights_are_those_of_the_best_epoch(blobs: ImageData) -> None:
    # A rate at which later epochs are sometimes worse.
    network, history = trained(blobs, epochs=12, learning_rate=1.5)
    assert 1 <= history.best_epoch < 12
    found = scores(network, blobs)
    assert found["loss"] == pytest.approx(history.best["val_loss"])
    assert found["accuracy"] == history.best["val_accuracy"]


def test_the_same_seed_repeats_and_another_does_not(blobs: ImageData) -> None:
    first, again, other = (trained(blobs, seed=seed)[1] for seed in (1, 1, 2))
    assert without_times(first) == without_times(again)
    assert without_times(first) != without_times(other)


def test_it_ends_when_the_training_loss_is_low_enough(blobs: ImageData) -> None:
    _, whole = trained(blobs, epochs=10)
    losses = [row["train_loss"] for row in whole.rows]
    target = (losses[3] + losses[4]) / 2
    _, history = trained(blobs, epochs=10, target_loss=target)
    assert without_times(history) == without_times(whole)[:5]
    assert "--target_loss" in history.stopped
    assert not whole.stopped


def test_too_large_a_rate_is_told_in_one_line_without_warnings(blobs: ImageData) -> None:
    with pytest.raises(NonFiniteLoss, match="in epoch 1"):
        trained(blobs, learning_rate=1e30)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_steps_are_those_of_torch(momentum: float) -> None:
    ours = untrained()
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
    free, held = (trained(blobs, weight_decay=decay)[0] for decay in (0.0, 0.1))
    for ours, theirs in zip(held, free, strict=True):
        assert np.linalg.norm(ours.W) < np.linalg.norm(theirs.W)
