"""Training in PyTorch: what other frameworks do not have."""

import numpy as np
import pytest

from tests.training.examples import small_network, train
from trackml.data import ImageData
from trackml.errors import UsageError
from trackml.history import History
from trackml.training.torch import predict, resolve_device


def test_the_rate_changes_at_every_step(blobs: ImageData) -> None:
    fractions: set[float] = set()

    def schedule(done: float, _history: History) -> float:
        fractions.add(done)
        return 1.0

    train("torch", blobs, epochs=2, batch_size=50, schedule=schedule)
    assert sorted(fractions) == pytest.approx([0, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6])


def test_predictions_are_probabilities_for_any_number_of_images(blobs: ImageData) -> None:
    network = small_network()
    images = np.concatenate([blobs.train.images] * 8)  # 1,200: more than a batch of predictions
    answers = predict(network, images)
    assert answers.shape == (1_200, 3)
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(answers[-150:], predict(network, images[:150]), rtol=1e-4)


def test_a_missing_device_is_refused() -> None:
    assert resolve_device("cpu") == "cpu"
    if resolve_device("auto") == "cpu":
        with pytest.raises(UsageError, match="--device cuda: PyTorch finds no CUDA GPU"):
            resolve_device("cuda")
