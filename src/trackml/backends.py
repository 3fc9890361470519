"""TensorFlow and PyTorch in one process, with the settings that trackml needs, and their seeds.

`from trackml.backends import keras, tf` imports TensorFlow without the lines that its native code
prints on start-up: they are about CPU instructions and missing GPUs, and no log setting suppresses
them. Set TF_CPP_MIN_LOG_LEVEL to see them.
"""

import os
import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from trackml.errors import TrackmlError
from trackml.process import environment

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

__all__ = ["keep_triton_out", "keras", "seed_everything", "tf"]

_lock = RLock()  # two threads that redirect stderr at once would not restore it


def __getattr__(name: str) -> Any:
    """Import keras and tf when the first of them is used."""
    if name not in ("keras", "tf"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _lock:
        if name not in globals():
            _import_tensorflow()
    return globals()[name]


def _import_tensorflow() -> None:
    os.environ["KERAS_BACKEND"] = "tensorflow"  # instead of the one in this machine's keras.json
    with ExitStack() as stack:
        if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
            stack.enter_context(environment(TF_CPP_MIN_LOG_LEVEL="3"))
            stack.enter_context(_silent_stderr())
        import keras
        import tensorflow as tf

        tf.config.list_physical_devices()  # looks for GPUs, and warns if there is none
    if keras.backend.backend() != "tensorflow":
        raise TrackmlError(
            f"Keras is already imported with its {keras.backend.backend()} backend; set "
            "KERAS_BACKEND=tensorflow, or import trackml.backends first"
        )
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
    keep_triton_out()
    globals().update(keras=keras, tf=tf)


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Discard what the process, including native code, writes to stderr."""
    sys.stderr.flush()
    saved, devnull = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(devnull)
        os.close(saved)


def keep_triton_out() -> None:
    """Block the import of Triton in a process with TensorFlow, unless it is imported already.

    PyTorch imports Triton if it finds it. Both Triton and TensorFlow contain LLVM, and if Triton
    is the second to load, the process aborts (TensorFlow 2.21, Triton 3.9). PyTorch needs Triton
    only to compile models.
    """
    if "tensorflow" in sys.modules:
        sys.modules.setdefault("triton", None)  # type: ignore[arg-type]


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy, and the frameworks that this process has imported.

    Args:
        seed: from 0 to below 2**32, the range of NumPy's legacy generator.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # some libraries still use it
    if keras := sys.modules.get("keras"):
        keras.utils.set_random_seed(seed)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)
