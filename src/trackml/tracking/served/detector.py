"""A registered detector: images in, a table of what is on them out."""

from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class Detector(PythonModel):
    """uint8 (N, H, W), raw pixels → the table that `detect` of faster_rcnn.py returns."""

    def load_context(self, context: Any) -> None:
        """Build the network from the model's files."""
        # Not on top: that file is beside this one only among the files of a model.
        from faster_rcnn import detect, restore  # type: ignore[import-not-found]

        with np.load(context.artifacts["weights"], allow_pickle=False) as weights:
            self._network = restore(weights)
        self._detect = detect

    def predict(self, context: Any, model_input: np.ndarray, params: Any = None) -> Any:  # noqa: ARG002
        """Answer a request."""
        # Of names and type hints MLflow takes no others without a warning.
        return self._detect(self._network, model_input)


set_model(Detector())
