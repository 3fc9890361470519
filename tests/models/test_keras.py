"""Dense and convolutional networks in Keras: their layers, inputs and outputs."""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from trackml.models.keras import (
    dense_classifier,
    dense_regressor,
    describe,
    fashion_cnn,
    with_named_columns,
)
from trackml.training.keras import predictor

IMAGES = np.random.default_rng(0).integers(0, 255, size=(3, 28, 28), dtype=np.uint8)
TABLE = np.random.default_rng(0).normal((3, 36, -119), (1, 2, 2), (50, 3)).astype(np.float32)


def test_the_documented_cnn() -> None:
    parameters, summary = describe(fashion_cnn(10, 0.3))
    # 3*3*1*32+32, 3*3*32*64+64, 7*7*64*128+128, 128*10+10
    assert parameters == 320 + 18_496 + 401_536 + 1_290
    assert "N x 3136" in summary
    assert "401,536" in summary
    assert summary.splitlines()[-1].split() == ["trainable", "421,642"]


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_documented_dense_network(batch_norm: bool) -> None:
    parameters, summary = describe(dense_classifier([20, 30], classes=10, batch_norm=batch_norm))
    normalization = 2 * (20 + 30) if batch_norm else 0
    assert parameters == 784 * 20 + 20 + 20 * 30 + 30 + 30 * 10 + 10 + normalization
    assert summary.count("BatchNormalization") == (2 if batch_norm else 0)


@pytest.mark.parametrize("model", [fashion_cnn(10, 0.3), dense_classifier([16], classes=10)])
def test_raw_pixels_become_probabilities(model: object) -> None:
    np.testing.assert_allclose(predictor(model)(IMAGES).sum(axis=1), 1, rtol=1e-6)


def test_columns_are_standardized_as_scikit_learn_does() -> None:
    """Without hidden layers the model is one dense layer on the standardized columns."""
    raw = np.column_stack([TABLE, np.full(50, 7.0, np.float32)])  # the last one is constant
    scaler = StandardScaler().fit(raw)
    model = dense_regressor(scaler.mean_, scaler.scale_, [])
    for column in range(4):
        model.layers[-1].set_weights([np.eye(4)[:, [column]], np.zeros(1)])
        expected = scaler.transform(raw)[:, [column]]
        np.testing.assert_allclose(predictor(model)(raw), expected, atol=1e-4)


def test_named_columns_may_have_any_order() -> None:
    model = dense_regressor(np.zeros(3), np.ones(3), [4])
    named = with_named_columns(model, ["c", "a", "b"])
    columns = {"a": TABLE[:, [1]], "b": TABLE[:, [2]], "c": TABLE[:, [0]]}
    np.testing.assert_allclose(np.asarray(named(columns)), predictor(model)(TABLE), rtol=1e-6)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "gelu"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_output_of_a_row_with_a_missing_value_is_nan(activation: str, value: float) -> None:
    model = dense_regressor(np.zeros(3), np.ones(3), [8, 4], activation=activation)
    named = with_named_columns(model, ["a", "b", "c"])
    rows = TABLE.copy()
    rows[1, 2] = value
    outputs = named.predict({name: rows[:, [i]] for i, name in enumerate("abc")}, verbose=0)
    assert np.flatnonzero(~np.isfinite(outputs)).tolist() == [1]
    assert np.isnan(outputs[1])


@pytest.mark.parametrize("shape", [(4, 6), (9, 5, 3)])
def test_images_may_have_any_size_and_colors(shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 255, size=(3, *shape), dtype=np.uint8)
    answers = predictor(fashion_cnn(7, 0.3, shape=shape))(images)
    assert answers.shape == (3, 7)
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("shape", [(3, 28), (28, 28, 3, 1), (28,)])
def test_images_that_are_pooled_away_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"sides of at least 4 pixels. Received: \("):
        fashion_cnn(7, 0.3, shape=shape)
