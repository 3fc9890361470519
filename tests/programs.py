"""Programs in processes that have their libraries already.

To load TensorFlow or PyTorch, and MLflow, takes four seconds of a program, and tests start programs
well over a hundred times. So a process loads the libraries once, but nothing of ours, and each
program is a fork of it. Tests of how libraries are loaded start programs as a shell does, as does
the fixture `finished` for each entry point.
"""

import gc
import json
import os
import re
import runpy
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMON = (
    *("pandas", "pydantic", "rich.console", "rich.progress", "seaborn", "matplotlib.pyplot"),
    *("mlflow", "mlflow.pyfunc", "sklearn.metrics", "alembic.command"),
    *("mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store"),
)
LIBRARIES = {
    "keras": (*COMMON, "tensorflow", "keras"),
    "torch": (*COMMON, "torch", "torchvision"),
    "none": COMMON,
}
# What is read when it is needed. Others, such as OMP_NUM_THREADS, libraries read as they load.
READ_LATE = re.compile(r"MLFLOW_.*URI|MLFLOW_(RUN|EXPERIMENT)_.*|MLFLOW_HTTP_.*|TRACKML_.*|COLUMNS")
MOST_BYTES = 200_000  # of a request


def can_fork(environment: Mapping[str, str]) -> bool:
    """Whether a program with these variables, besides those of all, may be a fork."""
    return sys.platform == "linux" and all(map(READ_LATE.fullmatch, environment))


def run_forked(
    words: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run a module with its arguments, as `python -m` does, and return what it said."""
    request = json.dumps([list(words), str(folder.absolute()), dict(environment)]).encode()
    pipes = [os.pipe() for _ in range(3)]  # its output, its errors, its end
    try:
        ends = [0, *(write for _, write in pipes)]
        socket.send_fds(_server(_framework(words)), [request], ends)
    finally:
        for _, write in pipes:
            os.close(write)
    with ThreadPoolExecutor() as pool:
        stdout, stderr, end = pool.map(_read, [read for read, _ in pipes])
    assert end, "the process that forks has ended, see what it said on stderr"
    (status,) = struct.unpack("i", end)
    command = [sys.executable, "-m", *words]
    return subprocess.CompletedProcess(
        command, os.waitstatus_to_exitcode(status), stdout.decode(), stderr.decode()
    )


def _read(pipe: int) -> bytes:
    with open(pipe, "rb") as file:  # a number, not a path
        return file.read()


def _framework(words: Sequence[str]) -> str:
    """That of the pipeline among the words of a command."""
    for word in words:
        file = ROOT / f"{word.replace('.', '/')}.py"
        if word.startswith("pipelines.") and file.exists():
            found = re.search(r"from trackml\.frameworks import (keras|torch) ", file.read_text())
            return found[1] if found else "none"
    return "none"


@cache
def _server(framework: str) -> socket.socket:
    """A connection to a process that forks for each request; it ends with the connection."""
    from tests.conftest import user_environment

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.set_inheritable(True)
    words = [sys.executable, "-m", "tests.programs", framework, str(theirs.fileno())]
    quiet = {"MPLBACKEND": "agg", "TF_CPP_MIN_LOG_LEVEL": "3"}
    os.posix_spawn(sys.executable, words, user_environment() | quiet)
    theirs.close()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST_BYTES)
    return ours


def _next_program(framework: str, connection: socket.socket) -> str:
    """Load the libraries, then return the name of a module in a fork for each request."""
    for library in LIBRARIES[framework]:
        import_module(library)
    gc.collect()
    gc.freeze()  # so that no collection in a fork copies their pages
    while True:
        request, ends, _, _ = socket.recv_fds(connection, MOST_BYTES, 4)
        if not request:
            os._exit(0)
        if os.fork() == 0:
            connection.close()
            break
        for end in ends:
            os.close(end)
        with suppress(ChildProcessError):  # those that have ended
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    *stdio, end = ends
    if program := os.fork():  # one that waits for the program, and says how it ended
        for other in stdio:
            os.close(other)
        _, status = os.waitpid(program, 0)
        os.write(end, struct.pack("i", status))
        os._exit(0)
    os.close(end)
    for number, other in enumerate(stdio):
        os.dup2(other, number)
        os.close(other)
    words, folder, environment = json.loads(request)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:], sys.path[0] = words[1:], folder
    return str(words[0])


if __name__ == "__main__":
    program = _next_program(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
    runpy.run_module(program, run_name="__main__", alter_sys=True)
