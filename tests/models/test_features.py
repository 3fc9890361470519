"""Computed columns: the same from NumPy, Keras and files, and blind to what is held out."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import mlflow
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.tree import DecisionTreeRegressor

from pipelines.housing import Params
from trackml.backends import keras
from trackml.checks.model import save_checked
from trackml.data import TableData, TableSplit
from trackml.data.formats import HOUSING_FEATURES, HOUSING_TARGET
from trackml.errors import UsageError
from trackml.models.features import Features, Floats, Kind, with_features
from trackml.models.keras import dense_regressor, with_named_columns
from trackml.models.keras_features import with_features as with_features_in_keras
from trackml.training.features import fit_features, measure
from trackml.training.keras import predictor
from trackml.training.sklearn import fit, predictor as predictor_of_estimator

COMPUTED: tuple[Kind, ...] = ("quantile", "piecewise", "neighbours")
ROWS = 120


def homes(rows: int, seed: int) -> Floats:
    """Raw columns (N, 8) of homes on few places and of few incomes, so that distances tie."""
    random = np.random.default_rng(seed)
    columns = random.integers(1, 4, size=(rows, 8)).astype(np.float32)
    columns[:, 6:] = columns[:, 6:] / 100 + [34, -120]
    return columns


def table() -> TableData:
    target = np.random.default_rng(1).normal(2, 1, size=3 * ROWS)
    splits = [homes(ROWS, seed) for seed in range(3)]
    return TableData.from_arrays(
        "california_housing",
        (np.concatenate(splits[:2]), target[: 2 * ROWS]),
        (splits[2], target[2 * ROWS :]),
        columns=HOUSING_FEATURES,
        target_name=HOUSING_TARGET,
        validation_split=0.5,
        keep_order=True,
    )


DATA = table()
TRAIN, TARGET = DATA.train.arrays


def in_keras(features: Features) -> Any:
    """A model of raw columns whose answers are the computed ones."""
    width = features(TRAIN[:1]).shape[1]
    same = keras.Sequential([keras.Input((width,)), keras.layers.Activation("linear")])
    return with_features_in_keras(same, features, HOUSING_FEATURES)


FEATURES = {kind: measure(kind, TRAIN, TARGET, HOUSING_FEATURES)[0] for kind in COMPUTED}
MODELS = {kind: predictor(in_keras(features)) for kind, features in FEATURES.items()}


@given(
    rows=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=20),
    moved=st.sampled_from([0, 0.01, 3, -50, 1e6]),
    kind=st.sampled_from(COMPUTED),
)
@settings(max_examples=60)
def test_keras_computes_what_numpy_does_in_any_batch(
    rows: list[int], moved: float, kind: Kind
) -> None:
    """Other neighbors would have other targets."""
    x = (DATA.validation.features + np.float32(moved)).astype(np.float32)
    alone = FEATURES[kind](x)[rows]
    for compute in (FEATURES[kind], MODELS[kind]):
        np.testing.assert_allclose(compute(x[rows]), alone, rtol=1e-5, atol=1e-3)


def test_of_equal_distances_the_lower_row_is_nearer() -> None:
    x = np.repeat(homes(1, 0), 40, axis=0)
    target = np.arange(40, dtype=np.float32)
    constants = dict(measure("neighbours", x, target, HOUSING_FEATURES)[0].constants)
    found = Features(without_bins(constants)).of_training_rows(x)
    # Behind 8 raw columns and 10 rotated ones: the means of 3, 8 and 30 targets.
    np.testing.assert_allclose(found[0, 18:21], [2, 4.5, 15.5], rtol=1e-5)
    np.testing.assert_allclose(found[39, 18:21], [1, 3.5, 14.5], rtol=1e-5)
    np.testing.assert_allclose(
        Features(without_bins(constants))(x[:1])[0, 18:20], [1, 3.5], rtol=1e-5
    )


def without_bins(constants: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in constants.items() if name[:3] not in ("bin", "nor")}


@pytest.mark.parametrize("kind", COMPUTED)
def test_no_target_that_is_held_out_is_seen(kind: Kind) -> None:
    features, computed = fit_features(kind, DATA)
    others = [
        TableSplit(split.features, split.target + 5) for split in (DATA.validation, DATA.test)
    ]
    changed = replace(DATA, validation=others[0], test=others[1])
    features_of_changed, computed_of_changed = fit_features(kind, changed)
    for name, value in features.constants.items():
        np.testing.assert_array_equal(features_of_changed.constants[name], value)
    for split in ("train", "validation"):
        pair = (getattr(each, split).features for each in (computed, computed_of_changed))
        np.testing.assert_array_equal(*pair)


@given(row=st.integers(0, ROWS - 1))
@settings(max_examples=10)
def test_a_training_row_does_not_see_its_own_target(row: int) -> None:
    changed = TARGET.copy()
    changed[row] += 5
    found = [
        Features(
            without_bins(dict(measure("neighbours", TRAIN, y, HOUSING_FEATURES)[0].constants))
        ).of_training_rows(TRAIN)
        for y in (TARGET, changed)
    ]
    np.testing.assert_array_equal(found[0][row], found[1][row])
    assert (found[0] != found[1]).any()  # others do


def test_quantiles_and_shares_of_bins() -> None:
    x = np.random.default_rng(0).lognormal(size=(5_000, 1)).astype(np.float32)
    features, z = measure("quantile", x, x[:, 0], ["a"])
    middle = np.abs(np.log(x)) < 2.5
    np.testing.assert_allclose(z[middle], np.log(x)[middle], atol=0.15)
    assert (np.diff(features(np.sort(x, axis=0))[:, 0]) >= 0).all()
    features, shares = measure("piecewise", x, x[:, 0], ["a"])
    assert shares.shape == (5_000, 24)
    np.testing.assert_allclose(shares.sum(axis=1).mean(), 12, atol=0.1)
    assert features(np.zeros((1, 1), np.float32))[0, 0] < 0  # the outer bins have no end
    assert features(2 * x.max(axis=0, keepdims=True))[0, -1] > 1


@pytest.mark.parametrize("kind", get_args(Kind))
def test_files_answer_raw_columns_as_the_trained_model(kind: Kind, tmp_path: Path) -> None:
    features, computed = fit_features(kind, DATA)
    tree = DecisionTreeRegressor(max_depth=4)
    fit(tree, computed, Params.parse({}))
    model = with_features(tree, features)
    save_checked(
        str(tmp_path / "tree"), model, "sklearn", DATA, predictor_of_estimator(model, DATA)
    )
    predict = predictor_of_estimator(tree, computed)
    served = mlflow.pyfunc.load_model(str(tmp_path / "tree"))
    answers = served.predict(DATA.as_frame(DATA.validation.features)[[*reversed(DATA.columns)]])
    np.testing.assert_array_equal(answers, predict(computed.validation.features))

    width = computed.train.features.shape[1]
    head = dense_regressor(np.zeros(width), np.ones(width), [4], target=TARGET)
    network = with_features_in_keras(head, features, DATA.columns)
    save_checked(str(tmp_path / "network"), network, "keras", DATA, predictor(network))
    (file,) = (tmp_path / "network").rglob("*.keras")
    loaded = keras.saving.load_model(file, compile=False)
    columns = {
        name: DATA.validation.features[:, [number]] for number, name in enumerate(DATA.columns)
    }
    expected = with_named_columns(network, DATA.columns)(columns)
    np.testing.assert_array_equal(loaded(columns), expected)


def test_data_that_features_cannot_be_computed_of_are_refused() -> None:
    few = replace(DATA, train=TableSplit(TRAIN[:30], TARGET[:30]))
    with pytest.raises(
        UsageError, match=r"--features neighbours: expected more than 30 .*received 30"
    ):
        fit_features("neighbours", few)
    assert fit_features("quantile", few)[1].train.features.shape == (30, 8)
    with pytest.raises(ValueError, match=r"of numbers without gaps\. Received: cali"):
        fit_features("piecewise", replace(DATA, missing="impute"))
    with pytest.raises(ValueError, match="neighbours: there is no column Latitude"):
        fit_features("neighbours", replace(DATA, columns=tuple("abcdefgh")))
