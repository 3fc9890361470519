"""Training in Keras: what other frameworks do not have."""

from typing import Any

import numpy as np
import pytest

from tests.conftest import small_model
from tests.training.examples import parameters, train
from trackml.backends import keras, seed_everything
from trackml.data import ImageData
from trackml.history import NonFiniteLoss
from trackml.models.keras import dense_regressor, fashion_cnn
from trackml.training.augmentation import Augmentation
from trackml.training.keras import copy_in, fit, predictor


def test_the_training_loss_of_an_epoch_is_its_own(blobs: ImageData) -> None:
    """After the first epoch steps are too small to matter: the second sees the first's model."""
    trained = train(
        "keras",
        blobs,
        epochs=2,
        learning_rate=0.05,
        schedule=lambda done, _: 1e-11 if done >= 0.5 else 1,
    )
    first, second = trained.history.rows
    loss = trained.scores(blobs.train)["loss"]
    assert second["train_loss"] == pytest.approx(loss, rel=1e-4)
    assert first["train_loss"] != pytest.approx(loss, rel=0.1)


def test_a_nan_weight_stops_training_if_the_loss_does_not_show_it(blobs: ImageData) -> None:
    pixels = keras.Input((9, 9), dtype="uint8")
    embedding = keras.layers.Embedding(300, 4)  # pixels go up to 255: the last rows are not used
    x = keras.layers.GlobalAveragePooling1D()(embedding(keras.layers.Flatten()(pixels)))
    model = keras.Model(pixels, keras.layers.Dense(3, activation="softmax")(x))
    table = embedding.get_weights()[0]
    table[256:] = np.nan
    embedding.set_weights([table])
    with pytest.raises(NonFiniteLoss, match="weights are nan or overflow in epoch 1"):
        train("keras", blobs, model=model, optimizer="sgd")


def test_dropout_depends_only_on_seed_and_epoch(blobs: ImageData) -> None:
    weights = small_model().get_weights()

    def losses(random_state: int) -> list[float]:
        seed_everything(random_state)
        model = small_model(dropout=0.5)
        model.set_weights(weights)
        history = fit(model, blobs, parameters("keras"), optimizer=keras.optimizers.Adam())
        return [row["train_loss"] for row in history.rows]

    assert losses(1) == losses(2)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"label_smoothing": 0.1, "ema_decay": 0.9},
        {"augment": Augmentation(shift=0.1, erase=0.5, mixup=0.2)},
    ],
)
def test_steps_are_compiled_once(
    options: dict[str, Any], blobs: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 150 rows the last call has fewer, for which TensorFlow would compile them again."""
    step, compiled = keras.Model.train_step, []

    def noted(model: keras.Model, batch: object) -> object:
        compiled.append(batch)
        return step(model, batch)

    monkeypatch.setattr(keras.Model, "train_step", noted)
    history = train("keras", blobs, batch_size=16, epochs=2, **options).history
    assert len(compiled) == 1
    right = history.rows[0]["train_accuracy"] * len(blobs.train)
    assert right == pytest.approx(round(right), abs=1e-3)  # of these rows, and no other


class CountsInputs(keras.Model):  # type: ignore[misc]  # Keras has no types
    """Has metrics of its own, which need the inputs."""

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> dict[str, Any]:
        scores: dict[str, Any] = super().compute_metrics(x, y, y_pred, sample_weight)
        return scores | {"pixels": keras.ops.cast(keras.ops.size(x), "float32")}


def test_a_model_with_metrics_of_its_own_trains(blobs: ImageData) -> None:
    plain = small_model()
    model = CountsInputs(plain.input, plain.output)
    assert train("keras", blobs, model=model).history.rows


def test_a_sequential_model_trains_in_bfloat16_and_stays_float32(blobs: ImageData) -> None:
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    output = keras.layers.Dense(3, activation="softmax")
    model = keras.Sequential([keras.Input((9, 9), dtype="uint8"), *layers, output])
    history = train("keras", blobs, model=model, precision="bfloat16", epochs=6).history
    assert history.best["val_accuracy"] > 0.9
    assert {layer.compute_dtype for layer in model.layers if layer.weights} == {"float32"}
    assert not model.compiled


def test_the_trained_copy_computes_in_bfloat16_except_its_output() -> None:
    copy = copy_in(fashion_cnn(10, 0.3), "bfloat16")
    dtypes = {layer.name: layer.compute_dtype for layer in copy.layers if layer.weights}
    assert dtypes.pop("probabilities") == "float32"
    assert set(dtypes.values()) == {"bfloat16"}


def test_layers_behind_the_last_weights_round_no_outputs() -> None:
    target = np.array([1.0, 3.0], np.float32)
    copy = copy_in(dense_regressor(np.zeros(2), np.ones(2), [4], target=target), "bfloat16")
    dtypes = {layer.name: layer.compute_dtype for layer in copy.layers}
    assert (dtypes["target"], dtypes["unit"]) == ("float32", "float32")
    assert "bfloat16" in dtypes.values()


def test_the_trained_copy_keeps_adapted_statistics_with_all_digits() -> None:
    """bfloat16 would round a longitude to half a degree."""
    seed_everything(0)  # weights of some other seeds differ by more in bfloat16
    longitudes = np.linspace(-124, -114, 50, dtype=np.float32)[:, np.newaxis]
    normalization = keras.layers.Normalization()
    normalization.adapt(longitudes)
    column = keras.Input((1,))
    hidden = keras.layers.Dense(4)(normalization(column))
    model = keras.Model(column, keras.layers.Dense(1)(hidden))
    expected, answers = (
        predictor(each)(longitudes)[:, 0] for each in (model, copy_in(model, "bfloat16"))
    )
    np.testing.assert_allclose(answers, expected, atol=0.02)
    assert len(np.unique(np.sign(np.diff(answers)))) == 1
