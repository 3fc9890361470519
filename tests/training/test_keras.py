"""Training in Keras, on models and data small enough to check by hand."""

from typing import Any

import numpy as np
import pytest

from tests.conftest import small_model
from tests.pipelines.expected import without_times
from trackml.data import ImageData
from trackml.evaluation.metrics import score_classes
from trackml.fields import BatchSize, Epochs, LearningRate, Precision
from trackml.history import History, NonFiniteLoss
from trackml.models.keras import fashion_cnn
from trackml.params import KerasParams
from trackml.seeding import seed_everything
from trackml.tensorflow import keras
from trackml.training.keras import _twin, fit, predictor
from trackml.training.schedules import Schedule, constant


class Example(KerasParams):
    epochs: Epochs = 6
    batch_size: BatchSize = 32
    learning_rate: LearningRate = 0.01
    precision: Precision = "float32"


def trained(
    data: ImageData,
    *,
    dropout: float = 0.0,
    augment: Any = None,
    schedule: Schedule = constant,
    patience: int = 0,
    hooks: Any = (),
    **values: Any,
) -> tuple[keras.Model, History]:
    params = Example.parse(values)
    seed_everything(params.seed)
    model = small_model(dropout)
    history = fit(
        model,
        data,
        params,
        optimizer=keras.optimizers.Adam(params.learning_rate),
        augment=augment,
        schedule=schedule,
        patience=patience,
        hooks=hooks,
    )
    return model, history


def test_a_model_learns_and_keeps_the_weights_of_its_best_epoch(blobs: ImageData) -> None:
    model, history = trained(blobs, epochs=8)
    best = history.rows[history.best_epoch - 1]
    assert best["val_accuracy"] > 0.9
    scores = score_classes(predictor(model)(blobs.validation.images), blobs.validation.labels)
    assert scores["accuracy"] == best["val_accuracy"]
    assert scores["loss"] == pytest.approx(best["val_loss"], rel=1e-6)


def test_a_bad_end_does_not_spoil_the_model_that_is_kept(blobs: ImageData) -> None:
    model, history = trained(blobs, epochs=7, schedule=lambda done, _: 1e4 if done > 0.7 else 1)
    assert history.rows[-1]["val_accuracy"] < history.rows[history.best_epoch - 1]["val_accuracy"]
    scores = score_classes(predictor(model)(blobs.validation.images), blobs.validation.labels)
    assert scores["accuracy"] == history.summary["best_val_accuracy"]


def test_the_training_loss_is_a_mean_over_samples_not_over_batches(blobs: ImageData) -> None:
    """150 images in batches of 64: the last has 22. Steps this small leave the model as it was."""
    seed_everything(0)
    model = small_model()
    before = score_classes(predictor(model)(blobs.train.images), blobs.train.labels)
    _, history = trained(blobs, learning_rate=1e-12, epochs=1, batch_size=64)
    assert history.rows[0]["train_loss"] == pytest.approx(before["loss"], rel=1e-5)
    assert history.rows[0]["train_accuracy"] == pytest.approx(before["accuracy"], rel=1e-5)


def test_the_same_seed_repeats_and_another_does_not(blobs: ImageData) -> None:
    histories = [without_times(trained(blobs, seed=seed, dropout=0.5)[1]) for seed in (3, 3, 4)]
    assert histories[0] == histories[1] != histories[2]


def test_randomness_follows_from_the_seed_and_the_epoch_alone(blobs: ImageData) -> None:
    """Whatever was drawn before, by this process or in earlier epochs: dropout's too."""
    weights = small_model(0.5).get_weights()

    def losses(surroundings: int) -> list[float]:
        seed_everything(surroundings)
        model = small_model(0.5)
        model.set_weights(weights)
        history = fit(model, blobs, Example.parse({}), optimizer=keras.optimizers.Adam(0.01))
        return [row["train_loss"] for row in history.rows]

    assert losses(1) == losses(2)


def test_an_epochs_training_loss_is_its_own(blobs: ImageData) -> None:
    """After the first epoch steps are too small to matter: the second sees the first's model."""
    model, history = trained(
        blobs, epochs=2, learning_rate=0.05, schedule=lambda done, _: 1e-11 if done else 1
    )
    after_first = score_classes(predictor(model)(blobs.train.images), blobs.train.labels)
    assert history.rows[1]["train_loss"] == pytest.approx(after_first["loss"], rel=1e-4)
    assert history.rows[0]["train_loss"] != pytest.approx(after_first["loss"], rel=0.1)


def test_every_image_is_seen_once_in_each_epoch_in_another_order(blobs: ImageData) -> None:
    seen: list[Any] = []

    def watch(images: Any, seed: Any) -> Any:
        def note(batch: Any) -> Any:
            seen.extend(image.tobytes() for image in batch.numpy())
            return batch

        from trackml.tensorflow import tf

        return tf.ensure_shape(tf.py_function(note, [images], images.dtype), images.shape)

    trained(blobs, epochs=2, augment=watch)
    count = len(blobs.train)
    first, second = seen[:count], seen[count:]
    assert sorted(first) == sorted(second) == sorted(i.tobytes() for i in blobs.train.images)
    assert first != second


@pytest.mark.parametrize("learning_rate", [1e20, 1e30, 1e38])
def test_a_loss_that_leaves_the_numbers_stops_the_training(
    blobs: ImageData, learning_rate: float
) -> None:
    epochs: list[int] = []
    with pytest.raises(NonFiniteLoss, match="in epoch"):
        trained(
            blobs, learning_rate=learning_rate, hooks=[lambda epoch, metrics: epochs.append(epoch)]
        )
    assert len(epochs) < 6


def test_a_weight_that_leaves_the_numbers_stops_it_too_where_the_loss_does_not_show_it(
    blobs: ImageData,
) -> None:
    pixels = keras.Input((9, 9), dtype="uint8")
    embedding = keras.layers.Embedding(300, 4)  # pixels go up to 255: the last rows are not used
    x = keras.layers.GlobalAveragePooling1D()(embedding(keras.layers.Flatten()(pixels)))
    model = keras.Model(pixels, keras.layers.Dense(3, activation="softmax")(x))
    table = embedding.get_weights()[0]
    table[256:] = np.nan
    embedding.set_weights([table])
    with pytest.raises(NonFiniteLoss, match="weights are nan, or overflow, in epoch 1"):
        fit(model, blobs, Example.parse({}), optimizer=keras.optimizers.SGD(0.01))


def test_bfloat16_trains_about_as_well_and_leaves_a_float32_model(blobs: ImageData) -> None:
    model, history = trained(blobs, precision="bfloat16", epochs=8)
    assert history.precision == "bfloat16"
    assert {layer.compute_dtype for layer in model.layers if layer.weights} == {"float32"}
    assert history.summary["best_val_accuracy"] > 0.9
    scores = score_classes(predictor(model)(blobs.validation.images), blobs.validation.labels)
    assert scores["accuracy"] == history.summary["best_val_accuracy"]


def test_a_sequential_model_can_be_trained_too(blobs: ImageData) -> None:
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    output = keras.layers.Dense(3, activation="softmax")
    model = keras.Sequential([keras.Input((9, 9), dtype="uint8"), *layers, output])
    optimizer = keras.optimizers.Adam(0.01)
    history = fit(model, blobs, Example.parse({"precision": "bfloat16"}), optimizer=optimizer)
    assert history.summary["best_val_accuracy"] > 0.9


def test_the_twin_computes_in_bfloat16_but_for_its_output() -> None:
    twin = _twin(fashion_cnn(10, 0.3), "bfloat16")
    dtypes = {layer.name: layer.compute_dtype for layer in twin.layers if layer.weights}
    assert dtypes.pop("probabilities") == "float32"
    assert set(dtypes.values()) == {"bfloat16"}


def test_adapted_statistics_and_all_their_digits_are_kept_in_bfloat16() -> None:
    """bfloat16 would round a longitude to half a degree."""
    longitudes = np.linspace(-124, -114, 50, dtype=np.float32)[:, np.newaxis]
    normalization = keras.layers.Normalization()
    normalization.adapt(longitudes)
    column = keras.Input((1,))
    hidden = keras.layers.Dense(4)(normalization(column))
    model = keras.Model(column, keras.layers.Dense(1)(hidden))
    twin = _twin(model, "bfloat16")
    np.testing.assert_allclose(predictor(twin)(longitudes), predictor(model)(longitudes), atol=0.02)
    assert len(np.unique(np.sign(np.diff(predictor(twin)(longitudes)[:, 0])))) == 1


@pytest.mark.parametrize("batch_size", [150, 151, 2**31, 2**32 + 1])
def test_a_batch_size_beyond_the_data_means_all_of_it(blobs: ImageData, batch_size: int) -> None:
    whole = without_times(trained(blobs, epochs=2, batch_size=len(blobs.train))[1])
    assert without_times(trained(blobs, epochs=2, batch_size=batch_size)[1]) == whole


def test_the_model_that_is_kept_carries_no_optimizer(blobs: ImageData) -> None:
    model, _ = trained(blobs, epochs=1)
    assert not model.compiled
