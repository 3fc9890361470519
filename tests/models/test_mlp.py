"""Dense networks in NumPy: their outputs, and how they are saved."""

import numpy as np
import pytest

from trackml.models import mlp
from trackml.models.mlp import Layer
from trackml.models.numpy import dense_network, describe


def random() -> np.random.Generator:
    return np.random.default_rng(0)


def pixels(count: int) -> np.ndarray:
    return random().integers(0, 256, (count, 4, 5), dtype=np.uint8)


@pytest.mark.parametrize("widths", [(), (7,), (7, 3)])
def test_predictions_are_those_of_the_formula(widths: tuple[int, ...]) -> None:
    network = dense_network(20, widths, classes=6, random=random())
    images = pixels(9)
    x = images.reshape(9, 20) / 255
    for layer in network[:-1]:
        x = np.maximum(x @ layer.W.T + layer.b, 0)
    powers = np.exp(x @ network[-1].W.T + network[-1].b)
    expected = powers / powers.sum(axis=1, keepdims=True)
    predictions = mlp.predict(network, images)
    assert predictions.dtype == np.float32
    np.testing.assert_allclose(predictions, expected, rtol=1e-5)


def test_the_number_of_images_does_not_matter() -> None:
    network = dense_network(20, (7,), classes=6, random=random())
    images = pixels(2 * mlp.BATCH + 1)
    predictions = mlp.predict(network, images)
    assert predictions.shape == (len(images), 6)
    np.testing.assert_allclose(predictions[-1:], mlp.predict(network, images[-1:]), rtol=1e-5)
    assert mlp.predict(network, images[:0]).shape == (0, 6)


def test_weights_that_overflow_give_nan_without_a_warning() -> None:
    network = dense_network(20, (7,), classes=6, random=random())
    for layer in network:
        layer.W[...] *= 1e30
    assert np.isnan(mlp.predict(network, pixels(5))).all()


def test_saved_weights_restore_the_network() -> None:
    network = dense_network(20, [3] * 11, classes=6, random=random())
    restored = mlp.restore(dict(reversed(mlp.arrays(network).items())))
    images = pixels(5)
    np.testing.assert_array_equal(mlp.predict(restored, images), mlp.predict(network, images))


def test_the_standard_deviation_of_initial_weights_depends_on_their_inputs() -> None:
    hidden, last = dense_network(784, (2000,), classes=100, random=random())
    assert hidden.W.std() == pytest.approx(np.sqrt(2 / 784), rel=0.01)
    assert last.W.std() == pytest.approx(np.sqrt(1 / 2000), rel=0.01)
    assert (hidden.W.shape, last.W.shape) == ((2000, 784), (100, 2000))
    assert {hidden.W.dtype, hidden.b.dtype} == {np.dtype(np.float32)}
    assert not hidden.b.any()


def test_the_description_counts_all_weights() -> None:
    hidden, last = Layer(np.zeros((7, 20)), np.zeros(7)), Layer(np.zeros((6, 7)), np.zeros(6))
    parameters, text = describe((hidden, last))
    assert parameters == 20 * 7 + 7 + 7 * 6 + 6
    assert [line.split()[0] for line in text.splitlines()] == [
        *("layer", "scaled", "hidden1", "scores", "probabilities", "trainable")
    ]
    assert "N x 7" in text
