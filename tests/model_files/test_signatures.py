"""The input example of a model: what MLflow shows of it, and its server takes."""

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import Model

from tests.model_files.test_served import model_of, table
from tests.tracking.toy import Store, finish, network
from trackml.data import ImageData
from trackml.data.canvases import on_canvases
from trackml.model_files.saving import save_model
from trackml.model_files.signatures import input_example
from trackml.models.torch import Standardize
from trackml.tasks import Framework


def test_a_registered_model_carries_rows_that_it_answers(store: Store) -> None:
    with store.tracked() as run:
        finish(run)
    uri = "models:/blobs/1"
    model = mlflow.pyfunc.load_model(uri)
    examples: list[Any] = [model.input_example, Model.load(uri).load_input_example()]
    for example in examples:
        np.testing.assert_array_equal(example, store.data.validation.images[:2])
        assert example.dtype == np.uint8
        assert model.predict(example).shape == (2, 3)


def saved(folder: Path, model: Any, framework: Framework, data: Any) -> str:
    save_model(str(folder / framework), model, framework, data)
    return str(folder / framework)


@pytest.mark.parametrize(
    ("framework", "missing"),
    [("sklearn", "impute"), pytest.param("torch", "refuse", marks=pytest.mark.slow)],
)
def test_rows_of_a_table_have_names_and_no_gaps(
    framework: Framework, missing: str, tmp_path: Path
) -> None:
    data = table(missing)
    folder = saved(tmp_path, model_of(framework, data)[0], framework, data)
    example: Any = Model.load(folder).load_input_example(folder)
    pd.testing.assert_frame_equal(example, input_example(data), check_dtype=False)
    assert len(example) == 5
    text = Path(folder, "serving_input_example.json").read_text()
    request = json.loads(text, parse_constant=pytest.fail)  # NaN is no JSON
    model = mlflow.pyfunc.load_model(folder)
    answers = model.predict(pd.DataFrame(**request["dataframe_split"]))
    np.testing.assert_allclose(answers, model.predict(input_example(data)), rtol=1e-5)
    assert len(list(Path(folder).rglob("input_example.json"))) == 1  # none of a file in it


def test_the_example_is_small_and_none_where_one_row_is_large(
    blobs: ImageData, tmp_path: Path
) -> None:
    def of_side(side: int) -> ImageData:
        images = np.zeros((20, side, side), np.uint8), np.arange(20) % 2
        return ImageData.from_arrays("x", images, images, classes="ab", validation_split=0.5)

    assert [len(input_example(of_side(side))) for side in (70, 80)] == [2, 1]
    assert input_example(of_side(101)) is None
    gaps = table("impute")
    gaps.validation.features[:] = np.nan
    assert input_example(gaps) is None
    canvases = on_canvases("canvases", blobs, size=64, max_digits=1, seed=0)
    assert input_example(canvases).shape == (1, 64, 64)
    large = of_side(101)
    folder = saved(tmp_path, network(large), "numpy", large)
    assert not list(Path(folder).rglob("*example*"))
    assert Model.load(folder).load_input_example(folder) is None


def test_a_program_of_pytorch_has_no_example_of_zeros(blobs: ImageData, tmp_path: Path) -> None:
    from torch import nn

    layers = Standardize(), nn.Flatten(), nn.Linear(81, 3), nn.Softmax(1)
    folder = saved(tmp_path, nn.Sequential(*layers), "torch", blobs)
    example: Any = Model.load(folder).load_input_example(folder)
    np.testing.assert_array_equal(example, blobs.validation.images[:2])
    assert mlflow.pyfunc.load_model(folder).predict(example).shape == (2, 3)
