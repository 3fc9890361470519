"""TensorFlow and Keras, imported without the lines that their native code prints on start-up.

They are about CPU instructions and GPUs that are not there, and no log setting of TensorFlow
reaches them. Set TF_CPP_MIN_LOG_LEVEL to see them.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from trackml.triton import keep_triton_out


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Send the process's stderr, native code's too, to nowhere."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever else this machine's Keras is set to

if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
    import keras
    import tensorflow as tf
else:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with _silent_stderr():
        import keras
        import tensorflow as tf

        tf.config.list_physical_devices()  # looks for GPUs, and complains when there is none
    del os.environ["TF_CPP_MIN_LOG_LEVEL"]  # read by now; other processes choose for themselves

keep_triton_out()

__all__ = ["keras", "tf"]
