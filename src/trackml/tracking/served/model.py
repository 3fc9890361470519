"""A registered model that is code and arrays: raw input in, answers out."""

from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class Served(PythonModel):
    """Answers as `predict` of the model's architecture does: a file of trackml.models."""

    def load_context(self, context: Any) -> None:
        """Build the model from its files."""
        self._architecture = _module_in(context.artifacts["architecture"])
        with np.load(context.artifacts["weights"], allow_pickle=False) as weights:
            self._model = self._architecture.restore(weights)

    def predict(self, context: Any, model_input: np.ndarray, params: Any = None) -> Any:  # noqa: ARG002
        """Answer a request."""
        # Of names and type hints MLflow takes no others without a warning.
        return self._architecture.predict(self._model, model_input)


def _module_in(path: str) -> ModuleType:
    """A file's code, as a module of its own: another version's may be loaded beside it."""
    spec = spec_from_file_location("architecture", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


set_model(Served())
