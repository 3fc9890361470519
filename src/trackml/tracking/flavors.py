"""How each framework's models are logged: loadable without trackml, and without pickle."""

from importlib.metadata import version
from typing import Any, Literal

import mlflow
import numpy as np
from mlflow.entities import Run as MlflowRun
from mlflow.models import Model, ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, Schema, TensorSpec

from trackml.data import ImageData, TableData

Data = ImageData | TableData
Framework = Literal["keras"]


def log_model(
    client: MlflowClient, run: MlflowRun, model: Any, framework: Framework, data: Data
) -> str:
    """Log `model` as an outcome of `run`, and return its id."""
    logged = client.create_logged_model(
        run.info.experiment_id,
        name="model",
        source_run_id=run.info.run_id,
        params=run.data.params,
    )
    match framework:
        case "keras":
            flavor, packages = mlflow.keras, ("mlflow", "tensorflow", "keras", "numpy")
    Model.log(
        artifact_path=None,
        flavor=flavor,
        run_id=run.info.run_id,
        model_id=logged.model_id,
        model=model,
        signature=signature(data),
        # Without a list MLflow loads the model in a new process to find one: 13 s.
        pip_requirements=[f"{package}=={version(package)}" for package in packages],
    )
    return str(logged.model_id)


def signature(data: Data) -> ModelSignature:
    """What a model of this data takes and gives: the same for all frameworks.

    Images: uint8 (N, height, width), raw pixels → float32 (N, classes), probabilities.
    """
    if isinstance(data, TableData):
        inputs: list[ColSpec | TensorSpec] = [
            TensorSpec(np.dtype("float32"), (-1, 1), column) for column in data.columns
        ]
        outputs = TensorSpec(np.dtype("float32"), (-1, 1))
    else:
        inputs = [TensorSpec(np.dtype("uint8"), (-1, *data.train.images.shape[1:]))]
        outputs = TensorSpec(np.dtype("float32"), (-1, len(data.classes)))
    return ModelSignature(inputs=Schema(inputs), outputs=Schema([outputs]))
