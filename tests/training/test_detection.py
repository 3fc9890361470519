"""Training a detector, on canvases with one or two real digits."""

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.pipelines.expected import without_times
from trackml.data import load
from trackml.data.canvases import Canvases, DetectionData, Objects, on_canvases
from trackml.data.images import ImageData
from trackml.evaluation.detection import mean_average_precision
from trackml.fields import BatchSize, Epochs, LearningRate
from trackml.history import History
from trackml.models.faster_rcnn import faster_rcnn, predict, restore
from trackml.params import TorchParams
from trackml.seeding import seed_everything
from trackml.training.detection import find_objects, fit_detector

PARTS = {"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg"}


class Example(TorchParams):
    epochs: Epochs = 2
    batch_size: BatchSize = 16
    learning_rate: LearningRate = 0.002
    precision: Any = "float32"


@pytest.fixture(scope="module")
def data() -> DetectionData:
    """200 canvases to train, 60 to validate, 60 to test."""
    whole = load("mnist", 0.1, 260)
    images, labels = whole.train.arrays
    few = ImageData.from_arrays(
        "few",
        (images, labels),
        (whole.test.images[:60], whole.test.labels[:60]),
        classes=whole.classes,
        validation_split=60 / 260,
    )
    return on_canvases("few_on_canvases", few, size=48, most=2, seed=0)


def trained(data: DetectionData, **values: Any) -> tuple[Any, History]:
    params = Example.parse(values)
    seed_everything(params.seed)
    network = faster_rcnn(10)
    adam = torch.optim.AdamW(network.parameters(), fused=True)
    return network, fit_detector(network, data, params, optimizer=adam)


@pytest.fixture(scope="module")
def learnt(data: DetectionData) -> tuple[Any, History]:
    """Long enough to find something."""
    return trained(data, epochs=10)


def test_the_history_has_all_losses_and_the_precision(
    data: DetectionData, learnt: tuple[Any, History]
) -> None:
    network, history = learnt
    row = history.rows[-1]
    assert history.metric == "map"
    assert {name for name in row if name.startswith("val_")} == {
        "val_map",
        "val_loss",
        *(f"val_{part}" for part in PARTS),
    }
    for split in ("train", "val"):
        parts = sum(row[f"{split}_{part}"] for part in PARTS)
        assert row[f"{split}_loss"] == pytest.approx(parts)
    assert history.rows[1]["train_loss"] < history.rows[0]["train_loss"]
    assert history.best["val_map"] > 0.05
    kept = mean_average_precision(find_objects(network, data.validation), data.validation)
    assert kept["map"] == pytest.approx(history.best["val_map"])


def test_the_same_seed_repeats_and_another_does_not(data: DetectionData) -> None:
    runs = [without_times(trained(data, seed=seed, epochs=1)[1]) for seed in (3, 3, 4)]
    assert runs[0] == runs[1] != runs[2]


def test_validation_teaches_nothing(data: DetectionData) -> None:
    """Losses are told in training mode only, in which normalisation learns from what it sees."""
    network, _ = trained(data, epochs=1)
    state = copy.deepcopy(network.state_dict())
    assert int(state["backbone.1.num_batches_tracked"]) == -(-200 // 16)
    network.train()
    find_objects(network, data.validation)
    torch.testing.assert_close(network.state_dict(), state)


def test_it_trains_in_bfloat16_and_what_is_kept_is_float32(data: DetectionData) -> None:
    network, history = trained(data, epochs=1, precision="bfloat16")
    assert history.precision == "bfloat16"
    assert np.isfinite(history.rows[0]["train_loss"])
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}


def test_what_is_restored_finds_the_same(data: DetectionData, learnt: tuple[Any, History]) -> None:
    network, _ = learnt
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    found = predict(network, data.test.images)
    again = predict(restore(weights), data.test.images)
    assert len(found)
    pd.testing.assert_frame_equal(found, again, rtol=1e-4)


@pytest.mark.parametrize("shape", [(0, 64, 64), (1, 64, 64), (2, 45, 71), (1, 8, 8), (1, 200, 60)])
def test_images_of_any_size_get_a_table_of_the_same_columns(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    pixels = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    table = predict(faster_rcnn(10), pixels)
    assert {name: str(kind) for name, kind in table.dtypes.items()} == {
        "image": "int64",
        **dict.fromkeys(("x1", "y1", "x2", "y2"), "float32"),
        "label": "int64",
        "score": "float32",
    }
    assert table["image"].isin(range(shape[0])).all()
    assert table["label"].isin(range(10)).all()
    assert (table[["x1", "y1"]] >= 0).all().all()
    assert (table["x2"] <= shape[2]).all()
    assert (table["y2"] <= shape[1]).all()


def test_objects_are_those_of_the_table(data: DetectionData, learnt: tuple[Any, History]) -> None:
    network, _ = learnt
    table, objects = predict(network, data.test.images), find_objects(network, data.test)
    assert isinstance(objects, Objects)
    assert (objects.boxes == table[["x1", "y1", "x2", "y2"]].to_numpy()).all()
    assert (objects.scores == table["score"].to_numpy()).all()


def test_a_detector_of_one_class_sees_it_everywhere() -> None:
    """Labels are ours, from 0, though torchvision keeps 0 for the background."""
    whole = load("mnist", 0.1, 200)
    ones = ImageData.from_arrays(
        "alike",
        (whole.train.images, np.zeros(200, np.int64)),
        (whole.test.images[:20], np.zeros(20, np.int64)),
        classes=("digit",),
    )
    data = on_canvases("alike", ones, size=48, most=1, seed=0)
    seed_everything(0)
    network = faster_rcnn(1)
    adam = torch.optim.AdamW(network.parameters(), fused=True)
    history = fit_detector(network, data, Example.parse({"epochs": 4}), optimizer=adam)
    assert history.best["val_map"] > 0.3
    found = find_objects(network, Canvases(data.test.images, data.test.objects))
    assert set(found.labels.tolist()) == {0}
