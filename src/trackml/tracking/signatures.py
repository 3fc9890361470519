"""What models take and give, and what the data is, as MLflow describes it."""

import json
from typing import Any

import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

from trackml.data import ImageData, TableData
from trackml.data.canvases import Data, DetectionData

UINT8, FLOAT32, OBJECT = np.dtype("uint8"), np.dtype("float32"), np.dtype("object")
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
