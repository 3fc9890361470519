"""trackml: tracked, comparable, registered machine-learning results on real data.

Importing this package loads neither TensorFlow, nor torch, nor MLflow.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

__version__ = "0.1.0"

__all__ = ["__version__", "load"]


def load(task: str, alias: str = "champion") -> "PyFuncModel":
    """The registered model of a task, ready to `predict` raw inputs.

    Models of Keras and PyTorch may share a program, in any order; once TensorFlow is in it, PyTorch
    cannot compile models of its own there (`torch.compile`).

    Args:
        task: a registered name, such as "fashion_mnist".
        alias: "champion" (best validation metric), or an architecture for its latest version.

    Raises:
        trackml.errors.TrackmlError: the store has no such model or alias.
    """
    from trackml.tracking.registry import load_model

    return load_model(task, alias)
