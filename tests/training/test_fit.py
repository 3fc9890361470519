"""What training does in the same way in all frameworks."""

from typing import Any

import numpy as np
import pytest
from torch import nn

from tests.conftest import small_model
from tests.pipelines.expected import without_times
from tests.training.examples import small_network, train
from tests.training.recorder import Recorder
from trackml.backends import keras, tf
from trackml.data import ImageData
from trackml.history import NonFiniteLoss
from trackml.models.torch import Standardize
from trackml.training.torch import OPTIMIZERS

each_framework = pytest.mark.parametrize("framework", ["keras", "torch", "numpy"])


@pytest.mark.parametrize(
    ("framework", "optimizer", "values"),
    [
        *(("keras", "adam", {"precision": precision}) for precision in ("float32", "bfloat16")),
        *(("torch", name, {"precision": "float32"}) for name in OPTIMIZERS),
        *(("torch", name, {"precision": "bfloat16"}) for name in OPTIMIZERS),
        *(("numpy", name, {"epochs": 20}) for name in ("sgd", "momentum")),
    ],
)
def test_a_model_learns_and_keeps_the_weights_of_its_best_epoch(
    framework: str, optimizer: str, values: dict[str, Any], blobs: ImageData
) -> None:
    trained = train(framework, blobs, optimizer=optimizer, **{"epochs": 8, **values})
    history, scores = trained.history, trained.scores(blobs.validation)
    assert history.precision == values.get("precision", "float32")
    assert history.rows[-1]["train_loss"] < history.rows[0]["train_loss"] / 2
    assert history.best["val_accuracy"] > 0.9
    assert scores["accuracy"] == history.best["val_accuracy"]
    assert scores["loss"] == pytest.approx(history.best["val_loss"], rel=1e-6)


@pytest.mark.parametrize(
    ("framework", "values"),
    [
        ("keras", {"epochs": 7, "schedule": lambda done, _: 1e4 if done > 0.7 else 1}),
        ("torch", {"epochs": 7, "schedule": lambda done, _: -30 if done > 0.7 else 1}),
        ("numpy", {"epochs": 12, "learning_rate": 1.5}),
    ],
)
def test_later_epochs_that_are_worse_do_not_change_the_kept_model(
    framework: str, values: dict[str, Any], blobs: ImageData
) -> None:
    """Neither its weights nor the statistics of batch normalization."""
    trained = train(framework, blobs, **values)
    history, scores = trained.history, trained.scores(blobs.validation)
    assert history.rows[-1]["val_loss"] > history.best["val_loss"]
    assert scores["accuracy"] == history.best["val_accuracy"]
    assert scores["loss"] == pytest.approx(history.best["val_loss"], rel=1e-6)


@each_framework
def test_the_same_seed_repeats_and_another_does_not(framework: str, blobs: ImageData) -> None:
    dropout = 0.0 if framework == "numpy" else 0.5
    first, again, other = (
        without_times(train(framework, blobs, seed=seed, dropout=dropout).history)
        for seed in (3, 3, 4)
    )
    assert first == again != other


@each_framework
def test_training_metrics_are_means_over_samples_not_over_batches(
    framework: str, blobs: ImageData
) -> None:
    """150 images in batches of 64: the last has 22. Steps this small change nothing."""
    plain = nn.Sequential(Standardize(), nn.Flatten(), nn.Linear(81, 3))  # without batch norm
    model = plain if framework == "torch" else None
    trained = train(framework, blobs, model=model, learning_rate=1e-12, epochs=1, batch_size=64)
    expected = trained.scores(blobs.train)
    row = trained.history.rows[0]
    assert row["train_loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert row["train_accuracy"] == pytest.approx(expected["accuracy"], rel=1e-5)


@pytest.mark.parametrize("framework", ["keras", "torch"])
def test_each_image_is_seen_once_in_an_epoch_in_another_order(
    framework: str, blobs: ImageData
) -> None:
    seen: list[bytes] = []

    def note(images: Any) -> Any:
        seen.extend(image.numpy().tobytes() for image in images)
        return images

    class Noting(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
        def call(self, x: Any, training: bool = False) -> Any:
            noted = tf.py_function(note, [x], x.dtype) if training else x
            return tf.ensure_shape(noted, x.shape)

    if framework == "keras":
        pixels, inner = keras.Input((9, 9), dtype="uint8"), small_model()
        model = keras.Model(pixels, inner(Noting()(pixels)))
        train("keras", blobs, epochs=2, model=model)
    else:
        network = small_network()
        network[0].register_forward_pre_hook(lambda layer, x: note(x[0]) if layer.training else x)
        train("torch", blobs, epochs=2, model=network)
    first, second = seen[:150], seen[150:]
    assert sorted(first) == sorted(second) == sorted(i.tobytes() for i in blobs.train.images)
    assert first != second


@pytest.mark.parametrize(
    ("framework", "learning_rate"),
    [("keras", 1e20), ("keras", 1e30), ("keras", 1e38), ("torch", 1e30), ("numpy", 1e30)],
)
def test_too_large_a_learning_rate_stops_training_without_warnings(
    framework: str, learning_rate: float, blobs: ImageData
) -> None:
    run = Recorder()
    with pytest.raises(NonFiniteLoss, match="in epoch"):
        train(framework, blobs, learning_rate=learning_rate, epochs=6, run=run)
    assert len(run.epochs) < 6


@each_framework
@pytest.mark.parametrize("batch_size", [1, 149, 151, 2**32 + 1])
def test_a_batch_size_may_be_any_and_beyond_the_data_means_all_of_it(
    framework: str, batch_size: int, blobs: ImageData
) -> None:
    rows = without_times(train(framework, blobs, epochs=1, batch_size=batch_size).history)
    assert np.isfinite(rows[0]["train_loss"])
    whole = without_times(train(framework, blobs, epochs=1, batch_size=150).history)
    assert (rows == whole) is (batch_size > 150)
