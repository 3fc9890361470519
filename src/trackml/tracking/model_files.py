"""How each framework's models are logged: loadable without trackml, and without pickle."""

import copy
import shutil
import warnings
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import numpy as np
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Run as MlflowRun
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.pyfunc import PyFuncModel
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, Schema, TensorSpec
from numpy.typing import NDArray

from trackml.backends import in_standard_settings, keep_triton_out, standard_settings
from trackml.data import ImageData, TableData
from trackml.data.canvases import Data, DetectionData
from trackml.models import mlp
from trackml.process.system import environment
from trackml.tasks import Framework

Array = NDArray[Any]
UINT8, FLOAT32 = np.dtype("uint8"), np.dtype("float32")
_SOURCES = Path(__file__).parents[1]


def save_model(path: str, model: Any, framework: Framework, data: Data) -> None:
    """Write all files of a model, as MLflow has them, into a folder that does not exist yet."""
    match framework, data:
        case "keras", _:
            save, packages = partial(mlflow.keras.save_model, model), ["tensorflow", "keras"]
        case "torch", DetectionData():
            # Not exported: how much it finds, and so what it computes, depends on the images.
            weights = {name: value.cpu().numpy() for name, value in model.state_dict().items()}
            save = partial(_save_code, "faster_rcnn", weights)
            packages = ["pandas", "torch", "torchvision"]
        case "torch", ImageData() | TableData():
            save, packages = partial(_save_torch, model, data.train.arrays[0]), ["torch"]
        case "numpy", _:
            save, packages = partial(_save_code, "mlp", mlp.arrays(model)), []
    save(
        path=path,
        mlflow_model=Model(),
        signature=signature(data),
        # Without a list MLflow loads the model in a new process to find one: 13 s.
        pip_requirements=[f"{name}=={version(name)}" for name in ("mlflow", "numpy", *packages)],
    )
    for cache in Path(path).rglob("__pycache__"):
        shutil.rmtree(cache)


def framework_of(model: Any) -> Framework | None:
    """Of which framework a model is, as `save_model` takes it; None if of none."""
    packages = {base.__module__.partition(".")[0] for base in type(model).__mro__}
    if "keras" in packages:
        return "keras"
    if "torch" in packages:
        return "torch"
    if isinstance(model, tuple) and all(isinstance(layer, mlp.Layer) for layer in model):
        return "numpy"
    return "sklearn" if hasattr(model, "fit") and hasattr(model, "predict") else None


def load_saved(uri: str) -> PyFuncModel:
    """Load a model by a folder or an address of MLflow, whichever frameworks are loaded already."""
    keep_triton_out()  # else PyTorch would import it to load its models
    with standard_settings(), environment(KERAS_BACKEND="tensorflow"):
        model: PyFuncModel = mlflow.pyfunc.load_model(uri)
    model.predict = in_standard_settings(model.predict)  # type: ignore[method-assign]
    keep_triton_out()  # this model may have been the one that needs TensorFlow
    return model


def log_model(client: MlflowClient, run: MlflowRun, folder: Path) -> str:
    """Log the model that `save_model` has written as an outcome of a run; return its id.

    A run has one. If it is there already nothing is done; a half of it is completed.
    """
    of_run = f"source_run_id = '{run.info.run_id}'"
    logged = next(iter(client.search_logged_models([run.info.experiment_id], of_run)), None)
    if logged and logged.status == LoggedModelStatus.READY:
        return str(logged.model_id)
    if not logged:
        origin = {"source_run_id": run.info.run_id, "params": run.data.params}
        logged = client.create_logged_model(run.info.experiment_id, name="model", **origin)
    outputs = run.outputs.model_outputs if run.outputs else []
    if logged.model_id not in {output.model_id for output in outputs}:
        client.log_outputs(run.info.run_id, [LoggedModelOutput(logged.model_id, step=0)])
    # Among its files is one that says whose it is.
    written = Model.load(str(folder))
    written.model_uuid = written.model_id = logged.model_id
    written.run_id, written.artifact_path = run.info.run_id, logged.artifact_location
    draft = folder / f".{MLMODEL_FILE_NAME}"
    written.save(str(draft))
    draft.replace(folder / MLMODEL_FILE_NAME)
    client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    return str(logged.model_id)


def _save_torch(model: Any, inputs: Array, path: str, mlflow_model: Model, **options: Any) -> None:
    """Export a program, which loads without the model's class, and answers in batches.

    Args:
        model: takes inputs (N, ...), on any device.
        inputs: of the kind that the model takes.
    """
    import torch

    from trackml.models.torch import InBatches

    # Of a copy, as what is exported must not change. PyTorch's writer knows rows of memory only
    # in the usual order.
    plain = copy.deepcopy(model).cpu().to(memory_format=torch.contiguous_format)
    # From a single example PyTorch would conclude that all batches have one.
    example = np.zeros((2, *inputs.shape[1:]), inputs.dtype)
    mlflow.pytorch.save_model(
        InBatches(plain.requires_grad_(requires_grad=False), torch.from_numpy(example)).eval(),
        path,
        mlflow_model=mlflow_model,
        input_example=example,
        **options,
    )
    # Unasked, MLflow would look for it on a GPU where there is one, and refuse to load it.
    mlflow_model.flavors[mlflow.pyfunc.FLAVOR_NAME][mlflow.pyfunc.MODEL_CONFIG] = {"device": "cpu"}
    mlflow_model.save(str(Path(path, MLMODEL_FILE_NAME)))


def _save_code(architecture: str, weights: Mapping[str, Array], path: str, **options: Any) -> None:
    """Save the code that builds a model, without trackml, and the arrays that it builds it from.

    Args:
        architecture: a module of trackml.models that imports nothing of trackml, and has
            `restore(weights)` → model and `predict(model, inputs)` → answers.
    """
    with TemporaryDirectory(prefix="trackml-") as folder, warnings.catch_warnings():
        # The signature needs no example to be right.
        warnings.filterwarnings("ignore", ".*An input example was not provided", UserWarning)
        archive, named = Path(folder, "weights.npz"), dict[str, Any](weights)
        np.savez(archive, **named)
        mlflow.pyfunc.save_model(
            path,
            python_model=str(_SOURCES / "tracking/served/model.py"),
            artifacts={
                "weights": str(archive),
                "architecture": str(_SOURCES / f"models/{architecture}.py"),
            },
            **options,
        )


def signature(data: Data) -> ModelSignature:
    """What a model of this data takes and gives: the same for all frameworks.

    Images: uint8 (N, height, width), raw pixels → float32 (N, classes), probabilities.
    Canvases: uint8 (N, height, width), of any size → a table, a row per object that was found.
    """
    inputs: list[ColSpec | TensorSpec]
    outputs: list[ColSpec | TensorSpec]
    match data:
        case TableData():
            inputs = [TensorSpec(FLOAT32, (-1, 1), column) for column in data.columns]
            outputs = [TensorSpec(FLOAT32, (-1, 1))]
        case ImageData():
            inputs = [TensorSpec(UINT8, (-1, *data.train.images.shape[1:]))]
            outputs = [TensorSpec(FLOAT32, (-1, len(data.classes)))]
        case DetectionData():
            inputs = [TensorSpec(UINT8, (-1, -1, -1))]
            corners = dict.fromkeys(("x1", "y1", "x2", "y2"), "float")
            types = {"image": "long", **corners, "label": "long", "score": "float"}
            outputs = [ColSpec(kind, name) for name, kind in types.items()]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))
