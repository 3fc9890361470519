"""TensorFlow and PyTorch in one process, the settings of all libraries, and their seeds.

`from trackml.backends import keras, tf` imports TensorFlow without the lines that its native code
prints on start-up: they are about CPU instructions and missing GPUs, and no log setting suppresses
them. Set TF_CPP_MIN_LOG_LEVEL to see them.
"""

import logging
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from trackml.errors import TrackmlError
from trackml.process.processors import shared_processors
from trackml.process.system import environment

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

__all__ = [
    "full_float32",
    "in_standard_settings",
    "keep_triton_out",
    "keras",
    "program_settings",
    "seed_everything",
    "standard_settings",
    "tf",
]

Settings = Iterator[AbstractContextManager[Any]]

_lock = RLock()  # two threads that change stderr, or settings, at once would not restore it


def __getattr__(name: str) -> Any:
    """Import keras and tf when the first of them is used."""
    if name not in ("keras", "tf"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _lock:
        if name not in globals():
            _import_tensorflow()
    return globals()[name]


def _import_tensorflow() -> None:
    # TensorFlow itself leaves it off on processors without AVX-512, where an epoch of `fashion`
    # takes 1.3 times as long without it. It is read as late as the first graph runs.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    with ExitStack() as stack:
        # Instead of the one in this machine's keras.json.
        stack.enter_context(environment(KERAS_BACKEND="tensorflow"))
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
    keep_triton_out()
    globals().update(keras=keras, tf=tf)


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Discard what the process, including native code, writes to stderr."""
    with suppress(OSError, AttributeError):  # the disk is full; or there is no stderr
        sys.stderr.flush()
    try:
        os.fstat(2)
    except OSError:
        yield  # closed
        return
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
        # Which warns that it does not count the operations of Triton.
        logging.getLogger("torch.utils.flop_counter").setLevel(logging.ERROR)


@contextmanager
def standard_settings() -> Iterator[None]:
    """Give libraries their own default settings for the block, or as a decorator for a function.

    So what trackml builds, trains and draws does not depend on what a user has set in a file, such
    as keras.json, or in a notebook. The user's settings are back afterwards. It concerns the
    libraries that are imported by then, and imports none.
    """
    with ExitStack() as stack:
        stack.enter_context(no_warning_is_an_error())
        for name, settings in _SETTINGS.items():
            if library := sys.modules.get(name):
                for setting in settings(library):
                    stack.enter_context(setting)
        yield


@contextmanager
def program_settings() -> Iterator[None]:
    """What surrounds a program of ours, with its imports.

    No windows, no warning as an error, no more threads than there are processors for them.
    """
    with environment(MPLBACKEND="agg"), no_warning_is_an_error(), shared_processors():
        yield


@contextmanager
def no_warning_is_an_error() -> Iterator[None]:
    """Show warnings that `python -W error` would raise: they must not end a training."""
    with warnings.catch_warnings():
        warnings.filters = [
            ("default", *entry[1:]) if entry[0] == "error" else entry for entry in warnings.filters
        ]
        yield


@contextmanager
def _changed(get: Callable[[], Any], change: Callable[[Any], object], value: Any) -> Iterator[None]:
    before = get()
    change(value)
    try:
        yield
    finally:
        change(before)


# Each enters a setting after the other, as some read what was set before them.


def _numpy(numpy: Any) -> Settings:
    yield numpy.errstate(divide="warn", over="warn", under="ignore", invalid="warn")


def _tensorflow(tensorflow: Any) -> Settings:
    config = tensorflow.config
    yield _changed(config.functions_run_eagerly, config.run_functions_eagerly, False)
    yield _changed(config.optimizer.get_jit, config.optimizer.set_jit, False)
    log = tensorflow.get_logger()  # whose advice on retracing is for authors of functions
    yield _changed(partial(getattr, log, "level"), log.setLevel, "ERROR")


def _keras(keras: Any) -> Settings:
    from keras.src.backend.common import global_state

    config, policy = keras.config, "dtype_policy"
    yield _changed(config.floatx, config.set_floatx, "float32")
    # Without a policy Keras makes one of floatx. Its public functions could not take it away again.
    get = partial(global_state.get_global_attribute, policy)
    yield _changed(get, partial(global_state.set_global_attribute, policy), None)
    yield _changed(config.epsilon, config.set_epsilon, 1e-7)
    yield _changed(config.image_data_format, config.set_image_data_format, "channels_last")
    # A bar on stdout for each answer of a model.
    yield _changed(config.is_interactive_logging_enabled, _show_bars, False)


def _show_bars(wanted: bool) -> None:
    config = sys.modules["keras"].config
    (config.enable_interactive_logging if wanted else config.disable_interactive_logging)()


def _torch(torch: Any) -> Settings:
    yield torch.inference_mode(mode=False)  # which also records gradients
    yield torch.autograd.set_detect_anomaly(mode=False)
    get, change = torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode
    yield _changed(get, change, "default")
    # The outer ones first: an inner one that was not set has the value of the outer.
    of, name = torch.backends, "fp32_precision"
    inner = (of.cuda.matmul, of.cudnn, of.mkldnn, of.mkldnn.matmul, of.mkldnn.conv, of.mkldnn.rnn)
    for owner in (of, *inner):
        yield _changed(partial(getattr, owner, name), partial(setattr, owner, name), "none")
    for owner in (of.cudnn.conv, of.cudnn.rnn):
        yield _changed(partial(getattr, owner, name), partial(setattr, owner, name), "tf32")
    get, change = torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
    yield _changed(get, change, "highest")
    yield _changed(torch.get_default_dtype, torch.set_default_dtype, torch.float32)
    for device in ("cpu", "cuda"):
        get, change = torch.is_autocast_enabled, torch.set_autocast_enabled
        yield _changed(partial(get, device), partial(change, device), False)
    if torch.get_default_device().type != "cpu":
        yield torch.device("cpu")  # not always, as it makes each call slower


def _sklearn(sklearn: Any) -> Settings:
    yield sklearn.config_context(
        assume_finite=False, array_api_dispatch=False, transform_output="default"
    )


def _matplotlib(style: Any) -> Settings:
    yield style.context("default")


_SETTINGS: Mapping[str, Callable[[Any], Settings]] = {
    "numpy": _numpy,
    "tensorflow": _tensorflow,
    "keras": _keras,
    "torch": _torch,
    "sklearn": _sklearn,
    "matplotlib.style": _matplotlib,
}


@contextmanager
def full_float32() -> Iterator[None]:
    """Let GPUs multiply all digits of float32 in the block, and not those of TF32 alone."""
    with ExitStack() as stack:
        if torch := sys.modules.get("torch"):
            of, name = torch.backends, "fp32_precision"
            for owner in (of.cuda.matmul, of.cudnn.conv, of.cudnn.rnn):
                change = partial(setattr, owner, name)
                stack.enter_context(_changed(partial(getattr, owner, name), change, "ieee"))
        if tensorflow := sys.modules.get("tensorflow"):
            of = tensorflow.config.experimental
            get, change = of.tensor_float_32_execution_enabled, of.enable_tensor_float_32_execution
            stack.enter_context(_changed(get, change, value=False))
        yield


def in_standard_settings(predict: Callable[..., Any]) -> Callable[..., Any]:
    """The same answers under any settings of the user: Keras rounds inputs to a user's floatx.

    Threads get their answers one after the other, as most settings are the process's.
    """

    def answer(*args: Any, **options: Any) -> Any:
        with _lock, standard_settings():
            return predict(*args, **options)

    return answer


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
