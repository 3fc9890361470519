"""Trainings in processes that have their libraries already.

Half of a short training is the import of TensorFlow or PyTorch, and of MLflow, and tests start well
over a hundred. So a process loads the libraries once, but nothing of ours, and each training is a
fork of it. Tests of how libraries are loaded start programs as a shell does, as does the fixture
`finished` for each entry point.
"""

import gc
import json
import os
import re
import runpy
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

import numpy as np

ROOT = Path(__file__).parents[1]
MLFLOW_VARIABLES = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_RUN_ID",
    "MLFLOW_EXPERIMENT_ID",
    "MLFLOW_EXPERIMENT_NAME",
)
COMMON = (
    *("pandas", "pydantic", "rich.console", "rich.progress", "seaborn", "matplotlib.pyplot"),
    *("mlflow", "mlflow.pyfunc", "sklearn.metrics", "alembic.command"),
    *("mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store"),
)
LIBRARIES = {"keras": ("tensorflow", "keras"), "torch": ("torch", "torchvision")}
# What is read when it is needed. Others, such as OMP_NUM_THREADS, libraries read as they load.
READ_LATE = re.compile(
    r"MLFLOW_.*URI|MLFLOW_(RUN|EXPERIMENT|HTTP|ENABLE|SUPPRESS)_.*|TRACKML_.*|COLUMNS|PYTEST_.*"
)
MAX_REQUEST_BYTES = 200_000
_AT_START = frozenset(os.environ)  # before libraries are loaded here, which set more


def user_environment() -> dict[str, str]:
    """The environment of a shell from which nobody has used MLflow yet.

    Of variables that were not there at the start, it has those of MLflow and trackml alone.
    """
    unset = (*MLFLOW_VARIABLES, "COLUMNS")  # which pytest sets for the processes of xdist
    kept = {
        key: value
        for key, value in os.environ.items()
        if (key in _AT_START or key.startswith(("MLFLOW_", "TRACKML_"))) and key not in unset
    }
    scripts = str(Path(sys.executable).parent)
    return kept | {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}",
        "PATH": f"{scripts}:{os.environ['PATH']}",
    }


_USUAL = user_environment()  # before tests change it


def framework_to_fork(words: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """Which process may fork for a command: that of its pipeline's framework, or none."""
    changed = {name for name, _ in environment.items() ^ _USUAL.items()}
    if sys.platform != "linux" or not all(map(READ_LATE.fullmatch, changed)):
        return None
    names = [word.removeprefix("pipelines.") for word in words if word.startswith("pipelines.")]
    for name in names:
        source = (ROOT / "pipelines" / f"{name}.py").read_text(encoding="utf-8")
        if framework := re.search(r"from trackml\.frameworks import (\w+)", source):
            return framework[1]
    return None


def run_forked(
    framework: str, words: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run a module with its arguments, as `python -m` does, and return what it said."""
    request = json.dumps([list(words), str(folder.absolute()), dict(environment)]).encode()
    pipes = [os.pipe() for _ in range(3)]  # its output, its errors, its end
    try:
        ends = [0, *(write for _, write in pipes)]
        socket.send_fds(_server(framework), [request], ends)
    finally:
        for _, write in pipes:
            os.close(write)
    stdout, stderr, end = (os.fdopen(read, "rb") for read, _ in pipes)
    with stdout, stderr, end, ThreadPoolExecutor() as pool:
        process = _number(end)
        try:
            texts = pool.map(lambda pipe: pipe.read().decode(), (stdout, stderr))
            status = _number(end)
        except BaseException:  # the time is over, or Ctrl-C
            os.kill(process, signal.SIGKILL)
            raise
        command = [sys.executable, "-m", *words]
        return subprocess.CompletedProcess(command, os.waitstatus_to_exitcode(status), *texts)


def _number(pipe: BinaryIO) -> int:
    sent = pipe.read(4)
    assert sent, "the process that forks has ended; it says why on stderr"
    (number,) = struct.unpack("i", sent)
    return int(number)


@cache
def _server(framework: str) -> socket.socket:
    """A connection to a process that forks for each request; it ends with the connection."""
    from trackml.process.processors import SPIN_COUNT, SPINS  # here: a fork imports its own

    # What trackml would set before it imports the libraries.
    quiet = {"MPLBACKEND": "agg", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment = _USUAL | quiet | {"KERAS_BACKEND": "tensorflow", SPINS: SPIN_COUNT}
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.set_inheritable(True)
    words = [sys.executable, "-m", "tests.programs", framework, str(theirs.fileno())]
    os.posix_spawn(sys.executable, words, environment)
    theirs.close()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_REQUEST_BYTES)
    return ours


def _next_program(framework: str, connection: socket.socket) -> str:
    """Load the libraries, then return the name of a module in a fork for each request."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with pytest
    for library in (*COMMON, *LIBRARIES.get(framework, ())):
        import_module(library)
    gc.collect()
    gc.freeze()  # so that no collection in a fork copies their pages
    waiting: list[int] = []
    while True:
        request, ends, _, _ = socket.recv_fds(connection, MAX_REQUEST_BYTES, 4)
        if not request:
            os._exit(0)
        if (waiter := os.fork()) == 0:
            connection.close()
            break
        for end in ends:
            os.close(end)
        waiting = [each for each in (*waiting, waiter) if os.waitpid(each, os.WNOHANG) == (0, 0)]
    *stdio, end = ends
    if program := os.fork():  # one that waits for the program, and says how it ended
        for other in stdio:
            os.close(other)
        os.write(end, struct.pack("i", program))
        _, status = os.waitpid(program, 0)
        os.write(end, struct.pack("i", status))
        os._exit(0)
    os.close(end)
    for number, other in enumerate(stdio):
        os.dup2(other, number)
        os.close(other)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    np.random.seed()  # noqa: NPY002  # else all forks would draw the same numbers
    words, folder, environment = json.loads(request)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:], sys.path[0] = words[1:], folder
    return str(words[0])


if __name__ == "__main__":
    program = _next_program(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
    runpy.run_module(program, run_name="__main__", alter_sys=True)
