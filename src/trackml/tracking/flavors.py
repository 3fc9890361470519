"""How each framework's models are logged: loadable without trackml, and without pickle."""

import copy
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import mlflow
import numpy as np
from mlflow.entities import Run as MlflowRun
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, Schema, TensorSpec
from numpy.typing import NDArray

from trackml.data import ImageData, TableData

Array = NDArray[Any]
Data = ImageData | TableData
Framework = Literal["keras", "torch"]


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
            save, packages = partial(mlflow.keras.save_model, model), ["tensorflow", "keras"]
            options = {}
        case "torch":
            save, packages = partial(_save_torch, model, data.train.arrays[0]), ["torch"]
            options = {"validate_serving_input": False}  # that would load it again
    Model.log(
        artifact_path=None,
        flavor=SimpleNamespace(save_model=save),  # all that MLflow asks of a flavor
        run_id=run.info.run_id,
        model_id=logged.model_id,
        signature=signature(data),
        # Without a list MLflow loads the model in a new process to find one: 13 s.
        pip_requirements=[f"{name}=={version(name)}" for name in ("mlflow", "numpy", *packages)],
        **options,
    )
    return str(logged.model_id)


def _save_torch(model: Any, inputs: Array, path: str, mlflow_model: Model, **options: Any) -> None:
    """Export a program, which loads without the model's class.

    Args:
        model: takes inputs (N, ...), on any device.
        inputs: of the kind that the model takes.
    """
    import torch

    # Of a copy, as what is exported must not change. PyTorch's writer knows rows of memory only
    # in the usual order.
    plain = copy.deepcopy(model).cpu().to(memory_format=torch.contiguous_format).eval()
    mlflow.pytorch.save_model(
        plain,
        path,
        mlflow_model=mlflow_model,
        # From a single example PyTorch would conclude that all batches have one.
        input_example=np.zeros((2, *inputs.shape[1:]), inputs.dtype),
        **options,
    )
    # Unasked, MLflow would look for it on a GPU where there is one, and refuse to load it.
    mlflow_model.flavors[mlflow.pyfunc.FLAVOR_NAME][mlflow.pyfunc.MODEL_CONFIG] = {"device": "cpu"}
    mlflow_model.save(str(Path(path, MLMODEL_FILE_NAME)))


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
