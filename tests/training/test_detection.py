"""Training a detector, on canvases with one or two real digits."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.pipelines.expected import without_times
from trackml.backends import seed_everything
from trackml.data import ImageData, load
from trackml.data.canvases import Canvases, DetectionData, Objects, on_canvases
from trackml.evaluation.detection import mean_average_precision
from trackml.history import History
from trackml.metrics import MAP
from trackml.models.faster_rcnn import faster_rcnn, predict, restore
from trackml.params import TorchParams
from trackml.training.detection import find_objects, fit_detector
from trackml.training.options import StepOptions

PARTS = {"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg"}

Trained = tuple[Any, History]


@pytest.fixture(scope="module")
def data() -> DetectionData:
    """200 canvases to train, 60 to validate, 60 to test."""
    whole = load("mnist", 0.1, 260)
    test = whole.test.images[2:62], whole.test.labels[2:62]  # of all classes
    options: dict[str, Any] = {"validation_split": 60 / 260, "keep_order": True}
    few = ImageData.from_arrays("few", whole.train.arrays, test, classes=whole.classes, **options)
    return on_canvases("few_on_canvases", few, size=48, max_digits=2, seed=0)


def train(data: DetectionData, **values: Any) -> Trained:
    defaults = {"batch_size": 16, "learning_rate": 0.002, "precision": "float32"}
    names = {"fresh", *StepOptions.__optional_keys__}
    options = {name: values.pop(name) for name in names & values.keys()}
    params = TorchParams.parse(defaults | values)
    seed_everything(params.seed)
    network = faster_rcnn(len(data.classes))
    adam = torch.optim.AdamW(network.parameters(), fused=True)
    return network, fit_detector(network, data, params, optimizer=adam, **options)


@pytest.fixture(scope="module")
def trained(data: DetectionData) -> Trained:
    """Long enough to detect something."""
    return train(data, epochs=10)


def test_the_history_has_all_losses_and_the_precision(
    data: DetectionData, trained: Trained
) -> None:
    network, history = trained
    row = history.rows[-1]
    assert history.metric == MAP
    expected = {"val_map", "val_loss", *(f"val_{part}" for part in PARTS)}
    assert {name for name in row if name.startswith("val_")} == expected
    for split in ("train", "val"):
        parts = sum(row[f"{split}_{part}"] for part in PARTS)
        assert row[f"{split}_loss"] == pytest.approx(parts)
    assert history.rows[1]["train_loss"] < history.rows[0]["train_loss"]
    assert history.best["val_map"] > 0.05
    kept = mean_average_precision(find_objects(network, data.validation), data.validation)
    assert kept["map"] == pytest.approx(history.best["val_map"])


def test_the_same_seed_repeats_and_another_does_not(data: DetectionData) -> None:
    runs = [without_times(train(data, seed=seed, epochs=1)[1]) for seed in (3, 3, 4)]
    assert runs[0] == runs[1] != runs[2]


def test_detectors_are_averaged_too_and_trained_as_without(data: DetectionData) -> None:
    (_, history), (network, averaged) = (
        train(data, epochs=1, ema_decay=decay) for decay in (0.0, 0.5)
    )
    assert averaged.rows[0]["train_loss"] == history.rows[0]["train_loss"]
    assert averaged.rows[0]["val_loss"] != history.rows[0]["val_loss"]
    kept = mean_average_precision(find_objects(network, data.validation), data.validation)
    assert kept["map"] == averaged.best["val_map"]


def test_each_epoch_can_have_canvases_of_its_own(data: DetectionData) -> None:
    composed: list[Canvases] = []

    def compose(random: np.random.Generator) -> Canvases:
        assert data.compose
        composed.append(data.compose(random))
        return composed[-1]

    few = replace(data, compose=compose)
    _, history = train(few, epochs=2, fresh=True)
    first, second = composed
    assert first.images.shape == second.images.shape == data.train.images.shape
    assert not np.array_equal(first.images, second.images)
    assert without_times(history) == without_times(train(data, epochs=2, fresh=True)[1])
    assert without_times(history) != without_times(train(data, epochs=2)[1])
    with pytest.raises(ValueError, match="few_on_canvases cannot compose other canvases"):
        train(replace(data, compose=None), epochs=1, fresh=True)


def test_validation_does_not_change_the_network(data: DetectionData) -> None:
    """Losses are computed in training mode only, in which batch normalization learns."""
    network, _ = train(data, epochs=1)
    state = copy.deepcopy(network.state_dict())
    assert int(state["backbone.1.num_batches_tracked"]) == -(-200 // 16)
    network.train()
    find_objects(network, data.validation)
    torch.testing.assert_close(network.state_dict(), state)


def test_in_bfloat16_the_kept_network_is_float32(data: DetectionData) -> None:
    network, history = train(data, epochs=1, precision="bfloat16")
    assert history.precision == "bfloat16"
    assert np.isfinite(history.rows[0]["train_loss"])
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}


def test_a_restored_network_detects_the_same_objects(data: DetectionData, trained: Trained) -> None:
    network, _ = trained
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    table, objects = predict(network, data.test.images), find_objects(network, data.test)
    assert len(table)
    pd.testing.assert_frame_equal(table, predict(restore(weights), data.test.images), rtol=1e-4)
    assert isinstance(objects, Objects)
    assert (objects.boxes == table[["x1", "y1", "x2", "y2"]].to_numpy()).all()
    assert (objects.scores == table["score"].to_numpy()).all()


def test_a_detector_of_one_class_detects_it_everywhere() -> None:
    """Our labels start at 0, though torchvision keeps 0 for the background."""
    whole = load("mnist", 0.1, 200)
    same = np.zeros(200, np.int64)
    train_split, test = (whole.train.images, same), (whole.test.images[:20], same[:20])
    digits = ImageData.from_arrays("alike", train_split, test, classes=("digit",))
    data = on_canvases("alike", digits, size=48, max_digits=1, seed=0)
    network, history = train(data, epochs=4)
    assert history.best["val_map"] > 0.3
    assert set(find_objects(network, data.test).labels.tolist()) == {0}
