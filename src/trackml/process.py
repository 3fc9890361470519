"""This process: requests to stop it, the program that started it, its environment variables."""

import getpass
import os
import signal
import socket
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from types import FrameType
from typing import Any

import psutil
from platformdirs import user_cache_path, user_config_path

from trackml.errors import Terminated

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
ECHO_SECONDS = 0.5
_SHELLS = {"bash", "sh", "dash", "zsh"}  # `mlflow run` starts the program through one
_POLL_SECONDS = 0.5


@contextmanager
def stop_requests() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, SIGTERM raises Terminated; echoes of a request do nothing.

    One Ctrl-C often arrives more than once: the terminal signals the whole group, and `mlflow run`
    then signals its child again. A second request, some time later, raises again.
    """
    last: float | None = None

    def request(number: int, _frame: FrameType | None) -> None:
        nonlocal last
        if last is not None and monotonic() - last < ECHO_SECONDS:
            return
        last = monotonic()
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    with _handled_by(request):
        yield


@contextmanager
def stop_at_next_call() -> Iterator[Callable[[], None]]:
    """Deliver a request to stop when the function that this gives is called, or at the end.

    The work between two calls is finished. A second request, some time later, does not wait.
    """
    arrived: list[tuple[int, float]] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if arrived and monotonic() - arrived[0][1] >= ECHO_SECONDS:
            deliver()
        elif not arrived:
            arrived.append((number, monotonic()))

    def deliver() -> None:
        if arrived:
            number, _ = arrived.pop()
            signal.signal(number, before[number])
            signal.raise_signal(number)

    with _handled_by(note) as before:
        try:
            yield deliver
        finally:
            deliver()


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Finish the block first: a request to stop that arrives in it is delivered at its end."""
    arrived: list[int] = []
    try:
        with _handled_by(lambda number, _frame: arrived.append(number)):
            yield
    finally:
        if arrived:
            signal.raise_signal(arrived[0])


@contextmanager
def _handled_by(
    handler: Callable[[int, FrameType | None], None],
) -> Iterator[dict[int, Any]]:
    """Handle stop signals in the block; it gets the handlers from before."""
    if threading.current_thread() is not threading.main_thread():
        yield {}  # only the main thread gets signals, and only it may set handlers
        return
    before: dict[int, Any] = {number: signal.signal(number, handler) for number in STOP_SIGNALS}
    try:
        yield before
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def stop_with_parent() -> None:
    """Send this process SIGTERM once the program that started it has ended.

    Killing `mlflow run` also stops the program it started.
    """
    first = _parent_program()

    def watch() -> None:
        while _parent_program() == first:
            sleep(_POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=watch, daemon=True).start()


def _parent_program() -> int:
    """The number of the process that started this one, shells in between left out."""
    with suppress(psutil.Error):
        process = psutil.Process()
        while process := process.parent():
            if process.name() not in _SHELLS:
                return int(process.pid)
    return 0


def this_host() -> str:
    """The name of this machine."""
    return socket.gethostname().replace("'", "")


def this_process() -> str:
    """This process as other processes may know it, host:number."""
    return f"{this_host()}:{os.getpid()}"


def may_be_running(process: str) -> bool:
    """True if a process of `this_process` is alive, or on another machine; not if it is unknown."""
    host, _, number = process.rpartition(":")
    return bool(process) and (host != this_host() or psutil.pid_exists(int(number)))


@contextmanager
def environment(**variables: str | None) -> Iterator[None]:
    """Set environment variables for the block, or unset those that are None."""
    before = {name: os.environ.get(name) for name in variables}
    try:
        _set_environment(variables)
        yield
    finally:
        _set_environment(before)


def _set_environment(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def ensure_user() -> None:
    """Set a user name and a home for this process, and those that it starts, if they lack them.

    In a container any number may be the user, unknown to the system. MLflow, PyTorch and Ray ask
    for its name, MLflow and Ray for its home, and fail; matplotlib warns.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):  # OSError since Python 3.13
        os.environ["LOGNAME"] = f"uid{os.getuid()}"
    home = Path(os.path.expanduser("~"))  # noqa: PTH111  # Path.home() raises where there is none
    if not home.is_absolute() or not (os.access(home, os.X_OK) or can_write(home)):
        os.environ["HOME"] = str(private_folder())
        return
    # A home that cannot be written to stays: the user's credentials may be there.
    if not all(map(can_write, (user_config_path("matplotlib"), user_cache_path("matplotlib")))):
        os.environ.setdefault("MPLCONFIGDIR", str(private_folder() / "matplotlib"))


def can_write(folder: Path) -> bool:
    """True if a folder can be written to, or created."""
    # Unlike Path.exists, this raises no PermissionError in a folder that may not be entered.
    existing = next(each for each in (folder, *folder.parents) if os.access(each, os.F_OK))
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def private_folder() -> Path:
    """A folder in the temporary one that only this user can enter, the same each time."""
    user, number = os.getuid(), 1
    while True:
        name = f"trackml-{user}" if number == 1 else f"trackml-{user}-{number}"
        folder = Path(tempfile.gettempdir(), name)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == user:
            folder.chmod(0o700)
            return folder
        number += 1  # somebody else has taken the name
