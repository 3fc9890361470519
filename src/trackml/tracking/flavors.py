"""How each framework's models are logged: loadable without trackml, and without pickle."""

from importlib.metadata import version
from typing import Any, Literal

import mlflow
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

from trackml.data import ImageData, TableData

Framework = Literal["keras"]


def log_model(model: Any, framework: Framework, data: ImageData | TableData) -> str:
    """Log `model` to the active run, and return its id."""
    match framework:
        case "keras":
            return _log_keras(model, signature(data))


def signature(data: ImageData | TableData) -> ModelSignature:
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


def _log_keras(model: Any, model_signature: ModelSignature) -> str:
    # Without explicit requirements MLflow loads the model in a new process to find them: 13 s.
    packages = ("mlflow", "tensorflow", "keras", "numpy")
    info = mlflow.keras.log_model(
        model,
        name="model",
        signature=model_signature,
        pip_requirements=[f"{package}=={version(package)}" for package in packages],
    )
    return str(info.model_id)
