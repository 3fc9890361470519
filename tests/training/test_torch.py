"""Training in PyTorch: what is kept, what repeats, what is measured."""

import copy
from typing import Any

import numpy as np
import pytest
from torch import nn

from tests.pipelines.expected import without_times
from trackml.data import ImageData
from trackml.errors import UsageError
from trackml.evaluation.metrics import score_classes
from trackml.fields import BatchSize, Epochs, LearningRate
from trackml.history import History, NonFiniteLoss
from trackml.models.torch import Standardise
from trackml.params import TorchParams
from trackml.seeding import seed_everything
from trackml.tensorflow import tf  # loaded first, as in a process that has used both
from trackml.training.torch import OPTIMIZERS, fit, predict, resolve_device

assert tf


class Example(TorchParams):
    epochs: Epochs = 3
    batch_size: BatchSize = 16
    learning_rate: LearningRate = 0.003


def small_network(dropout: float = 0.0) -> nn.Sequential:
    """For the images of `blobs`: 9 x 9 pixels, 3 classes."""
    return nn.Sequential(
        Standardise(),
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(4 * 81, 3),
    )


def trained(
    data: ImageData,
    dropout: float = 0.0,
    optimizer: str = "adam",
    schedule: Any = None,
    **values: Any,
) -> tuple[nn.Module, History]:
    params = Example.parse(values)
    seed_everything(params.seed)
    network = small_network(dropout)
    made = OPTIMIZERS[optimizer](network.parameters(), weight_decay=0.0)  # type: ignore[index]
    options = {"schedule": schedule} if schedule else {}
    return network, fit(network, data, params, optimizer=made, **options)


def scores(network: nn.Module, data: ImageData) -> dict[str, float]:
    return score_classes(predict(network, data.validation.images), data.validation.labels)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_learns_and_keeps_the_weights_of_its_best_epoch(
    blobs: ImageData, optimizer: str, precision: str
) -> None:
    network, history = trained(blobs, optimizer=optimizer, epochs=8, precision=precision)
    assert (history.precision, history.device) == (precision, "cpu")
    assert history.best["val_accuracy"] > 0.9
    assert scores(network, blobs)["accuracy"] == history.best["val_accuracy"]
    assert scores(network, blobs)["loss"] == pytest.approx(history.best["val_loss"], rel=1e-6)


def test_a_bad_end_spoils_neither_weights_nor_the_statistics_of_normalisation(
    blobs: ImageData,
) -> None:
    network, history = trained(
        blobs, epochs=7, precision="float32", schedule=lambda done, _: -30 if done > 0.7 else 1
    )
    assert history.rows[-1]["val_accuracy"] < history.best["val_accuracy"]
    assert scores(network, blobs)["accuracy"] == history.best["val_accuracy"]
    assert scores(network, blobs)["loss"] == pytest.approx(history.best["val_loss"], rel=1e-6)


def test_the_same_seed_repeats_and_another_does_not(blobs: ImageData) -> None:
    runs = [without_times(trained(blobs, seed=seed, dropout=0.5)[1]) for seed in (3, 3, 4)]
    assert runs[0] == runs[1] != runs[2]


def test_randomness_follows_from_the_seed_and_the_epoch_alone(blobs: ImageData) -> None:
    first = small_network(0.5)
    networks = [first, copy.deepcopy(first)]

    def losses(surroundings: int, network: nn.Module) -> list[float]:
        seed_everything(surroundings)
        adam = OPTIMIZERS["adam"](network.parameters())
        history = fit(network, blobs, Example.parse({}), optimizer=adam)
        return [row["train_loss"] for row in history.rows]

    assert losses(1, networks[0]) == losses(2, networks[1])


def test_the_training_loss_is_a_mean_over_samples_not_over_batches(blobs: ImageData) -> None:
    """150 images in batches of 64: the last has 22. Steps this small change nothing."""
    seed_everything(0)
    network = nn.Sequential(Standardise(), nn.Flatten(), nn.Linear(81, 3))
    before = score_classes(predict(network, blobs.train.images), blobs.train.labels)
    sgd = OPTIMIZERS["sgd"](network.parameters())
    params = Example.parse(
        {"learning_rate": 1e-12, "epochs": 1, "batch_size": 64, "precision": "float32"}
    )
    row = fit(network, blobs, params, optimizer=sgd).rows[0]
    assert row["train_loss"] == pytest.approx(before["loss"], rel=1e-5)
    assert row["train_accuracy"] == pytest.approx(before["accuracy"], rel=1e-6)


def test_the_rate_changes_at_every_step(blobs: ImageData) -> None:
    asked: list[float] = []

    def watch(done: float, _history: History) -> float:
        asked.append(done)
        return 1.0

    trained(blobs, epochs=2, batch_size=50, schedule=watch)
    assert sorted(set(asked)) == pytest.approx([0, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6])


def test_each_image_is_seen_once_in_an_epoch_in_another_order(blobs: ImageData) -> None:
    class Watch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = small_network()
            self.seen: list[bytes] = []

        def forward(self, pixels: Any) -> Any:
            if self.training:
                self.seen += [image.numpy().tobytes() for image in pixels]
            return self.inner(pixels)

    network = Watch()
    adam = OPTIMIZERS["adam"](network.parameters())
    fit(network, blobs, Example.parse({"epochs": 2}), optimizer=adam)
    first, second = network.seen[:150], network.seen[150:]
    assert sorted(first) == sorted(second) == sorted(i.tobytes() for i in blobs.train.images)
    assert first != second


@pytest.mark.parametrize("batch_size", [1, 149, 150, 10**9])
def test_any_batch_size_will_do(blobs: ImageData, batch_size: int) -> None:
    _, history = trained(blobs, batch_size=batch_size, epochs=1)
    assert np.isfinite(history.rows[0]["train_loss"])


def test_a_rate_that_is_too_large_stops_it(blobs: ImageData) -> None:
    with pytest.raises(NonFiniteLoss, match="in epoch 1"):
        trained(blobs, learning_rate=1e30, precision="float32")


def test_predictions_are_probabilities_whatever_the_number_of_images(blobs: ImageData) -> None:
    network = small_network()
    images = np.concatenate([blobs.train.images] * 8)  # 1,200: more than a batch of predictions
    answers = predict(network, images)
    assert answers.shape == (1_200, 3)
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(answers[-150:], predict(network, images[:150]), rtol=1e-4)


def test_a_device_that_is_not_there_is_refused() -> None:
    assert resolve_device("cpu") == "cpu"
    if resolve_device("auto") == "cpu":
        with pytest.raises(UsageError, match="--device cuda: PyTorch finds no CUDA GPU"):
            resolve_device("cuda")
