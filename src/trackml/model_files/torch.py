"""PyTorch's models as files: exported programs, which load without a model's class."""

import copy
import shutil
import warnings
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.types import Schema, TensorSpec
from numpy.typing import NDArray

from trackml.data import TableData
from trackml.model_files.signatures import FLOAT32, remove_example, signature

Array = NDArray[Any]


def save_program(model: Any, inputs: Array, path: str, mlflow_model: Model, **options: Any) -> None:
    """Export a program, which loads without the model's class, and answers in batches.

    Some networks cannot be exported in a loop, and answer in one piece: those whose `forward` makes
    tensors, such as `x - torch.tensor([0.5, 0.4])`, and recurrent and attention layers.

    Args:
        model: takes inputs (N, ...), on any device.
        inputs: of the kind that the model takes.
    """
    import torch
    from torch import nn
    from torch._export.serde.serialize import SerializeError

    from trackml.models.torch import InBatches

    # Of a copy, as what is exported must not change. PyTorch's writer knows rows of memory only
    # in the usual order.
    plain = copy.deepcopy(model).cpu().to(memory_format=torch.contiguous_format)
    # From a single example PyTorch would conclude that all batches have one.
    example = np.zeros((2, *inputs.shape[1:]), inputs.dtype)
    plain = plain.requires_grad_(requires_grad=False).eval()

    def save(program: nn.Module) -> None:
        with warnings.catch_warnings():
            # An LSTM keeps its weights in a list too, which it renews. The checks see lost state.
            warnings.filterwarnings("ignore", "The tensor attribute.* assigned during export")
            mlflow.pytorch.save_model(
                program, path, mlflow_model=mlflow_model, input_example=example, **options
            )

    try:
        save(InBatches(plain, torch.from_numpy(example)).eval())
        program = mlflow.pytorch.load_model(path)
        for rows in (1, 2):  # some programs that could be written refuse one of them
            program(torch.from_numpy(example[:rows]))
    except (SerializeError, AssertionError, RuntimeError):
        shutil.rmtree(path, ignore_errors=True)
        save(plain)
    remove_example(mlflow_model, Path(path))  # of zeros
    # Unasked, MLflow would look for it on a GPU where there is one, and refuse to load it.
    mlflow_model.flavors[mlflow.pyfunc.FLAVOR_NAME][mlflow.pyfunc.MODEL_CONFIG] = {"device": "cpu"}
    mlflow_model.save(str(Path(path, MLMODEL_FILE_NAME)))


def write_table_program(model: Any, data: TableData, folder: Path) -> Path:
    """Export a program that takes features (N, columns) into a folder in this one; return it."""
    inputs = Schema([TensorSpec(FLOAT32, (-1, len(data.columns)))])
    of_matrix = ModelSignature(inputs, signature(data).outputs)
    options: Any = {"signature": of_matrix, "pip_requirements": []}
    save_program(model, data.train.features, str(folder / "program"), Model(), **options)
    return folder / "program"
