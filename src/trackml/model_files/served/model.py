"""A registered model that is files and the code to read them: raw input in, answers out."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel

Array = np.ndarray[Any, Any]
BATCH = 256  # rows at a time, whose activations take memory
WEIGHTS = "weights.json"  # of a folder of models to average
_ALLOW_PICKLE = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"


class Served(PythonModel):
    """Answers as `predict` of the model's architecture does: a file of trackml.models.

    Without an architecture the weights are a program of PyTorch or a file of Keras, and take tables
    as float32 (N, columns), as those with `TAKES_FRAMES` do not; or a folder of models to average,
    which take what the request has.
    """

    def load_context(self, context: Any) -> None:
        """Build the model from its files."""
        files: Mapping[str, str] = context.artifacts
        weights = files["weights"]
        self._table = Table.read(Path(files["table"])) if "table" in files else None
        self._takes_frames = Path(weights, WEIGHTS).exists()
        if self._takes_frames:
            self._answer = _ensemble(Path(weights))
            return
        if "architecture" not in files:
            self._answer = _program(weights) if Path(weights).is_dir() else _keras_model(weights)
            return
        architecture = _module_in(files["architecture"])
        self._takes_frames = getattr(architecture, "TAKES_FRAMES", False)
        if weights.endswith(".npz"):
            with np.load(weights, allow_pickle=False) as arrays:
                model = architecture.restore(arrays)
        else:
            model = architecture.restore(weights)
        if "features" in files:
            model = _module_in(files["features"]).restore(files["constants"], model)
        self._answer = lambda inputs: architecture.predict(model, inputs)

    def predict(self, context: Any, model_input: np.ndarray, params: Any = None) -> Any:  # noqa: ARG002
        """Answer a request."""
        # Of names and type hints MLflow takes no others without a warning.
        inputs: Any = model_input
        if self._table:
            inputs = self._table.as_matrix(model_input)
            if self._takes_frames:
                inputs = self._table.as_frame(inputs)
        return self._answer(inputs)


@dataclass(frozen=True)
class Table:
    """The columns that a model takes, as `TableData` has them."""

    columns: list[str]
    categories: dict[str, list[str]]
    missing: str  # "refuse" or "impute"

    @classmethod
    def read(cls, path: Path) -> "Table":
        """The description in a JSON file."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def as_matrix(self, request: Any) -> Array:
        """A DataFrame, or columns by name → float32 (N, columns).

        Texts become indices of their categories, what is missing becomes nan.

        Raises:
            MlflowException: a value is missing, infinite, or a text that training did not know.
        """
        columns = [self._numbers(name, np.ravel(request[name])) for name in self.columns]
        return np.stack(columns, axis=1)

    def as_frame(self, matrix: Array) -> pd.DataFrame:
        """The rows of `as_matrix` with numbers as float32, texts as texts, nan for the missing."""
        frame = pd.DataFrame(matrix, columns=self.columns)
        for name, texts in self.categories.items():
            codes = frame[name].fillna(-1).astype(np.int64)
            frame[name] = pd.Series(np.array([*texts, np.nan], dtype=object)[codes], dtype=object)
        return frame

    def _numbers(self, name: str, values: Array) -> Array:
        """A column as float32 (N,)."""
        is_missing = pd.isna(values)
        if name in self.categories:
            numbers = self._indices(name, values, is_missing)
        else:
            with np.errstate(over="ignore"):  # what overflows becomes infinity
                numbers = np.where(is_missing, np.nan, values).astype(np.float32)
        if np.isinf(numbers).any():
            raise _refused(name, np.isinf(numbers), "a number is infinite in float32")
        if self.missing == "refuse" and is_missing.any():
            raise _refused(name, is_missing, "a value is missing, which this model refuses")
        return numbers

    def _indices(self, name: str, values: Array, is_missing: Array) -> Array:
        texts = self.categories[name]
        indices = pd.Index(texts, dtype=object).get_indexer(pd.Index(values, dtype=object))
        is_unknown = (indices < 0) & ~is_missing
        if self.missing == "refuse" and is_unknown.any():
            allowed = ", ".join(texts[:20]) + ", ..." * (len(texts) > 20)
            value = values[is_unknown.argmax()]
            raise _refused(name, is_unknown, f"{value!s} is none of {allowed}")
        return np.where(indices < 0, np.nan, indices).astype(np.float32)


def _refused(column: str, rows: Array, problem: str) -> MlflowException:
    """For the first of the rows: a server answers with status 400."""
    message = f"column {column}, row {rows.argmax() + 1} of the request: {problem}"
    return MlflowException(message, INVALID_PARAMETER_VALUE)


def _program(folder: str) -> Callable[[Array], Array]:
    """A program of PyTorch, as `mlflow.pytorch` has saved it."""
    import torch

    with _without_pickle():
        program = mlflow.pytorch.load_model(folder, device="cpu")

    def answer(features: Array) -> Array:
        with torch.inference_mode():
            answers: Array = program(torch.from_numpy(features)).numpy()
        return answers

    return answer


def _ensemble(folder: Path) -> Callable[[Any], Array]:
    """The weighted mean of the answers of models, each in a folder of its own, as MLflow has it."""
    members = json.loads((folder / WEIGHTS).read_text(encoding="utf-8"))
    frameworks = {member["framework"] for member in members.values()}
    if "tensorflow" in sys.modules and "torch" in frameworks:
        # PyTorch imports Triton where it finds it. A second copy of LLVM would end the process.
        sys.modules.setdefault("triton", None)  # type: ignore[arg-type]
    # For the same reason those of PyTorch are loaded before those that load TensorFlow.
    order = sorted(members, key=lambda name: (members[name]["framework"] != "torch", int(name)))
    with _without_pickle():
        models = [mlflow.pyfunc.load_model(str(folder / name)) for name in order]
    weights = [members[name]["weight"] for name in order]

    def answer(rows: Any) -> Array:
        answers = np.asarray([model.predict(rows) for model in models], np.float64)
        return np.tensordot(np.asarray(weights), answers, 1).astype(np.float32)

    return answer


@contextmanager
def _without_pickle() -> Iterator[None]:
    """Else PyTorch would unpickle what a file may hold."""
    before = os.environ.get(_ALLOW_PICKLE)
    os.environ[_ALLOW_PICKLE] = "false"
    try:
        yield
    finally:
        del os.environ[_ALLOW_PICKLE]
        if before is not None:
            os.environ[_ALLOW_PICKLE] = before


def _keras_model(file: str) -> Callable[[Any], Array]:
    """A file of Keras: an array, or arrays by the names of its inputs, → its answers."""
    import keras

    model = keras.saving.load_model(file, compile=False)
    is_of_tensorflow = keras.backend.backend() == "tensorflow"
    call = _compiled(model) if is_of_tensorflow else partial(model, training=False)
    of_each = keras.tree.map_structure

    def answer(inputs: Any) -> Array:
        rows = len(keras.tree.flatten(inputs)[0])
        if not rows:  # which some layers refuse
            return answer(of_each(lambda x: np.zeros((1, *x.shape[1:]), x.dtype), inputs))[:0]
        answers = []
        for first in range(0, rows, BATCH):
            batch = of_each(lambda x, at=slice(first, first + BATCH): x[at], inputs)
            answers.append(keras.ops.convert_to_numpy(call(batch)))
        return np.concatenate(answers)

    return answer


def _compiled(model: Any) -> Any:
    """A model as one graph for any number of rows: `model.predict` takes 70 ms more for one."""
    import tensorflow as tf

    inputs = tf.nest.map_structure(lambda each: tf.TensorSpec(each.shape, each.dtype), model.input)
    return tf.function(lambda batch: model(batch, training=False), input_signature=[inputs])


def _module_in(path: str) -> ModuleType:
    """A file's code, as a module of its own: another version's may be loaded beside it."""
    spec = spec_from_file_location("architecture", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


set_model(Served())
