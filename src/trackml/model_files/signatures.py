"""What models take and give, and what the data is, as MLflow describes it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.models.utils import (
    DF_SPLIT,
    EXAMPLE_FILENAME,
    INPUT_EXAMPLE_PATH,
    INPUTS,
    SERVING_INPUT_FILENAME,
    SERVING_INPUT_PATH,
)
from mlflow.types import ColSpec, Schema, TensorSpec
from numpy.typing import NDArray

from trackml.data import ImageData, TableData
from trackml.data.canvases import Data, DetectionData
from trackml.data.tables import raw_rows

Array = NDArray[Any]
UINT8, FLOAT32, OBJECT = np.dtype("uint8"), np.dtype("float32"), np.dtype("object")
MAX_EXAMPLE = 10_000  # numbers of an input example: as text, some tens of kilobytes
MAX_SCHEMA = 65_535  # characters of a dataset's schema that MLflow keeps


def signature(data: Data) -> ModelSignature:
    """What a model of this data takes and gives: the same for all frameworks.

    Images: uint8 (N, height, width), raw pixels → float32 (N, classes), probabilities.
    Tables: the columns by name, (N, 1) each, numbers as float32, texts as objects → float32
    (N, classes), probabilities, or (N, 1), values.
    Canvases: uint8 (N, height, width), of any size → a table, a row per object that was found.
    """
    inputs: list[ColSpec | TensorSpec]
    outputs: list[ColSpec | TensorSpec]
    match data:
        case TableData():
            # Not columns of MLflow: as "double" they would refuse integers.
            kinds = {name: OBJECT if name in data.categories else FLOAT32 for name in data.columns}
            inputs = [TensorSpec(kind, (-1, 1), name) for name, kind in kinds.items()]
            outputs = [TensorSpec(FLOAT32, (-1, len(data.classes) or 1))]
        case ImageData():
            inputs = [TensorSpec(UINT8, (-1, *data.train.images.shape[1:]))]
            outputs = [TensorSpec(FLOAT32, (-1, len(data.classes)))]
        case DetectionData():
            inputs = [TensorSpec(UINT8, (-1, -1, -1))]
            corners = dict.fromkeys(("x1", "y1", "x2", "y2"), "float")
            types = {"image": "long", **corners, "label": "long", "score": "float"}
            outputs = [ColSpec(kind, name) for name, kind in types.items()]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))


def input_example(data: Data) -> Any:
    """A request for a few validation rows, as users have them; None if they are large, or none.

    At most five rows of a table as a DataFrame, without gaps, which JSON has no number for; two
    images; one canvas.
    """
    inputs: Array
    if isinstance(data, TableData):
        features = data.validation.features
        inputs, rows = features[np.isfinite(features).all(axis=1)], 5
    else:
        inputs, rows = data.validation.images, 2 if isinstance(data, ImageData) else 1
    rows = min(rows, len(inputs), MAX_EXAMPLE // int(np.prod(inputs.shape[1:])))
    return raw_rows(data, inputs[:rows]) if rows else None


def add_example(model: Model, folder: Path, data: Data) -> None:
    """Add an input example to the files of a model, where and as MLflow looks for one.

    Not by its own code: `mlflow.keras` fails to write one, others load the model once more for it,
    and all need a line for each number.
    """
    if (rows := input_example(data)) is None:
        return
    if isinstance(rows, np.ndarray):
        content, kind = rows.tolist(), {"type": "ndarray"}
        request = {INPUTS: content}
    else:
        content = rows.to_dict("split", index=False)
        kind = {"type": "dataframe", "pandas_orient": "split"}
        request = {DF_SPLIT: content}
    (folder / EXAMPLE_FILENAME).write_text(json.dumps(content), encoding="utf-8")
    (folder / SERVING_INPUT_FILENAME).write_text(json.dumps(request), encoding="utf-8")
    paths = {INPUT_EXAMPLE_PATH: EXAMPLE_FILENAME, SERVING_INPUT_PATH: SERVING_INPUT_FILENAME}
    model.saved_input_example_info = paths | kind
    model.save(str(folder / MLMODEL_FILE_NAME))


def remove_example(model: Model, folder: Path) -> None:
    """Remove the input example from the files of a model."""
    for name in (EXAMPLE_FILENAME, SERVING_INPUT_FILENAME):
        (folder / name).unlink()
    model.saved_input_example_info = None  # type: ignore[assignment]  # None is accepted


def dataset_facts(data: Data) -> dict[str, str]:
    """The schema and profile of a dataset as JSON, as MLflow's pages show them.

    The same for all runs on the data: they say nothing of the split and the limit.
    """
    if isinstance(data, TableData):
        kinds = ["string" if name in data.categories else "float" for name in data.columns]
        columns = zip(kinds, data.columns, strict=True)
        target = ("string" if data.classes else "float", data.target_name)
        of_columns = [{"type": kind, "name": name} for kind, name in [*columns, target]]
        schema: dict[str, Any] = {"mlflow_colspec": of_columns}
    else:
        labels = Schema([TensorSpec(np.dtype("int64"), (-1,))]).to_json()
        features = signature(data).inputs.to_json()
        schema = {"mlflow_tensorspec": {"features": features, "targets": labels}}
    profile = {
        "test_rows": len(data.test),
        "inputs": len(data.columns) if isinstance(data, TableData) else data.test.images.shape[1:],
        "classes": len(data.classes),
    }
    text = json.dumps(schema)
    of_schema = {"schema": text} if len(text) <= MAX_SCHEMA else {}
    return of_schema | {"profile": json.dumps(profile)}
