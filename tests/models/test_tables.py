"""The rows of a table as the input of networks and of scikit-learn's estimators."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from trackml.backends import keras
from trackml.models.keras import table_inputs, with_named_columns
from trackml.models.tables import Encoding, preprocessing
from trackml.models.torch import InBatches, TableInputs
from trackml.params import KerasParams, TorchParams
from trackml.training import keras as in_keras, torch as in_torch
from trackml.training.keras import predictor

NAN, INF = np.nan, np.inf
RAW = np.array(  # rooms, town (one of three), age
    [[1, 0, 10], [2, 1, NAN], [3, 1, 30], [6, NAN, 20]], np.float32
)
NEW = np.array([[3, 2, 20], [NAN, 7, NAN], [3, NAN, 20]], np.float32)


@dataclass(frozen=True)
class Rows:
    arrays: tuple[Any, Any]


@dataclass(frozen=True)
class Homes:
    """A table with a column of texts, and gaps."""

    train: Rows = Rows((RAW, np.array([0, 1, 1, 0])))
    validation: Rows = Rows((RAW, np.array([0, 1, 1, 0])))
    columns: tuple[str, ...] = ("rooms", "town", "age")
    classes: tuple[str, ...] = ("cheap", "dear")
    categories: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"town": ("Bath", "Ely", "York")}
    )
    missing: Literal["refuse", "impute"] = "impute"


def encode(framework: str, data: Homes, features: Any) -> Any:
    if framework == "keras":
        return predictor(keras.Model(*table_inputs(data)))(features)
    with torch.no_grad():
        return TableInputs(data)(torch.tensor(features)).numpy()


@pytest.mark.parametrize("framework", ["keras", "torch"])
def test_numbers_are_standardized_texts_one_hot_and_gaps_filled_with_the_mean(
    framework: str,
) -> None:
    rooms, age = (np.array([1, 2, 3, 6]), np.array([10, 30, 20]))
    standard = {0: (NEW[:, 0] - 3) / rooms.std(), 2: (NEW[:, 2] - 20) / age.std()}
    expected = np.column_stack(
        [
            np.nan_to_num(standard[0]),
            np.nan_to_num(standard[2]),
            [0, 1, 0],  # of the ages: no room is missing in training
            *([0, 0, 0], [0, 0, 0], [1, 0, 0]),  # Bath, Ely, York; 7 is no town
        ]
    )
    np.testing.assert_allclose(encode(framework, Homes(), NEW), expected, atol=1e-6)
    assert Encoding.of(Homes()).width == 6


@pytest.mark.parametrize("framework", ["keras", "torch"])
def test_a_row_that_may_not_be_is_answered_with_nan(framework: str) -> None:
    """Infinity always, a missing value where the data have none."""
    whole = RAW[[0, 2]]
    refusing = Homes(Rows((whole, np.array([0, 1]))), missing="refuse")
    rows = np.array([[1, 0, 10], [NAN, 0, 10], [1, NAN, 10], [1, 0, -INF]], np.float32)
    if framework == "keras":
        features, x = table_inputs(refusing)
        x = keras.layers.Dense(4, activation="relu")(x)
        model = keras.Model(features, keras.layers.Dense(1)(x))
        columns = {name: rows[:, [n]] for n, name in enumerate(refusing.columns)}
        answers = np.asarray(with_named_columns(model, refusing.columns)(columns))[:, 0]
        assert np.isfinite(answers).tolist() == [True, False, False, False]
        return
    for data, finite in ((refusing, [1, 0, 0, 0]), (Homes(), [1, 1, 1, 0])):
        np.testing.assert_array_equal(np.isfinite(encode("torch", data, rows)[:, 0]), finite)


def test_a_network_in_keras_trains_and_is_saved_without_code(tmp_path: Path) -> None:
    features, x = table_inputs(Homes())
    model = keras.Model(features, keras.layers.Dense(2, activation="softmax")(x))
    values = {"epochs": 30, "batch_size": 4, "learning_rate": 0.1, "precision": "bfloat16"}
    adam, params = keras.optimizers.Adam(), KerasParams.parse(values)
    history = in_keras.fit(model, Homes(), params, optimizer=adam, class_weights="balanced")
    assert history.best["val_accuracy"] == 1
    expected = predictor(model)(RAW)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(predictor(loaded)(RAW), expected, rtol=1e-6)


def test_a_network_in_torch_trains_and_is_exported() -> None:
    inputs = TableInputs(Homes())
    network = nn.Sequential(inputs, nn.Linear(inputs.width, 2))
    values = {"epochs": 30, "batch_size": 4, "learning_rate": 0.1, "precision": "bfloat16"}
    adam = in_torch.OPTIMIZERS["adam"](network.parameters())
    params = TorchParams.parse(values | {"device": "cpu"})
    history = in_torch.fit(network, Homes(), params, optimizer=adam, class_weights={"dear": 2.0})
    assert history.best["val_accuracy"] == 1
    example = torch.zeros((2, 3))
    whole = InBatches(network.requires_grad_(requires_grad=False), example).eval()
    shapes = ({0: torch.export.Dim("rows")},)
    program = torch.export.export(whole, (example,), dynamic_shapes=shapes).module()
    rows = torch.tensor(np.concatenate([RAW, NEW]))
    with torch.no_grad():
        torch.testing.assert_close(program(rows), network(rows))


def test_a_column_that_is_constant_or_always_missing_is_0() -> None:
    features = np.array([[5, NAN], [5, NAN]], np.float32)
    data = replace(Homes(), columns=("a", "b"), categories={}, train=Rows((features, None)))
    for framework in ("keras", "torch"):
        assert encode(framework, data, features).tolist() == [[0, 0, 1], [0, 0, 1]]


def test_scikit_learn_gets_the_same_columns_from_a_frame() -> None:
    def frame(features: Any) -> pd.DataFrame:
        names = np.array([*Homes().categories["town"], NAN], object)
        index = np.where(np.isfinite(features[:, 1]), features[:, 1], 3).astype(int)
        town = np.where(index > 3, "Rome", names[np.minimum(index, 3)])
        return pd.DataFrame({"rooms": features[:, 0], "town": town, "age": features[:, 2]})

    transformer = preprocessing(Homes()).fit(frame(RAW))
    encoded = transformer.transform(frame(NEW))
    # rooms, age, whether age is missing, Bath, Ely. York is not among the training rows.
    assert encoded.shape == (3, 5)
    assert np.isfinite(encoded).all()
    assert encoded[:, 2].std() > 0
    assert encoded[:, 3:].tolist() == [[0, 0], [0, 0], [0, 1]]  # the most frequent town is Ely
    numbers = replace(Homes(), columns=("a", "b"), categories={}, missing="refuse")
    standard = preprocessing(numbers).fit_transform(RAW[[0, 2], :2])
    np.testing.assert_allclose(standard, [[-1, -1], [1, 1]])
