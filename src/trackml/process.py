"""This process: requests to stop it, its parent, its standard streams, its variables."""

import codecs
import getpass
import io
import os
import signal
import socket
import stat
import sys
import tempfile
import threading
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from select import select
from threading import Thread
from time import monotonic, sleep
from types import FrameType
from typing import Any, TextIO

import psutil
from platformdirs import user_cache_path, user_config_path

from trackml.errors import Terminated

_URGENT = (signal.SIGINT, signal.SIGTERM)  # a second one, some time later, does not wait
# From a closed terminal, from batch systems, which may repeat them, by Ctrl-\. Windows lacks them.
_WARNINGS = tuple(
    getattr(signal, name)
    for name in ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU", "SIGQUIT")
    if hasattr(signal, name)
)
ECHO_SECONDS = 0.5
_ASCII = {"±": "+/-", "→": "->", "—": "-"}  # of what an encoding may lack
_SHELLS = {"bash", "sh", "dash", "zsh"}  # `mlflow run` starts the program through one
_POLL_SECONDS = 0.5


@contextmanager
def stop_requests() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, SIGTERM raises Terminated; echoes of a request do nothing.

    One Ctrl-C often arrives more than once: the terminal signals the whole group, and `mlflow run`
    then signals its child again. A second request, some time later, raises again.

    Warnings raise Terminated too, but only if they are the first request: SIGHUP, SIGUSR1, SIGUSR2,
    SIGXCPU, SIGQUIT. One that the program was started to ignore, as by `nohup`, stays ignored.
    """
    last: float | None = None

    def request(number: int, _frame: FrameType | None) -> None:
        nonlocal last
        is_echo = number not in _URGENT or last is None or monotonic() - last < ECHO_SECONDS
        if last is not None and is_echo:
            return
        last = monotonic()
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise Terminated("" if number == signal.SIGTERM else signal.Signals(number).name)

    with _handled_by(request, _heeded_warnings()):
        yield


@contextmanager
def stop_at_next_call() -> Iterator[Callable[[], None]]:
    """Deliver a request to stop when the function that this gives is called, or at the end.

    The work between two calls is finished. A second request, some time later, does not wait.
    """
    arrived: dict[int, float] = {}  # the time at which each signal arrived first

    def note(number: int, _frame: FrameType | None) -> None:
        first = min(arrived.values(), default=monotonic())
        arrived.setdefault(number, monotonic())
        if number in _URGENT and monotonic() - first >= ECHO_SECONDS:
            deliver()

    def deliver() -> None:
        numbers = list(arrived)
        arrived.clear()
        for number in numbers:
            signal.signal(number, before[number])
            signal.raise_signal(number)

    with _handled_by(note, _awaited_warnings()) as before:
        try:
            yield deliver
        finally:
            deliver()


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Finish the block first: a request to stop that arrives in it is delivered at its end."""
    arrived: list[int] = []
    try:
        with _handled_by(lambda number, _frame: arrived.append(number), _awaited_warnings()):
            yield
    finally:
        for number in dict.fromkeys(arrived):
            signal.raise_signal(number)


def ignore_warnings() -> None:
    """Ignore further warnings: a program that is at its end needs none, and they would kill it."""
    for number in _WARNINGS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def block_warnings() -> Iterator[None]:
    """Processes that this thread starts in the block get no warnings: others will end them."""
    if not _WARNINGS:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WARNINGS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _heeded_warnings() -> list[int]:
    """The warnings that this process was not started to ignore."""
    return [number for number in _WARNINGS if signal.getsignal(number) != signal.SIG_IGN]


def _awaited_warnings() -> list[int]:
    """The warnings that Python code handles, such as that of `stop_requests`."""
    return [number for number in _WARNINGS if callable(signal.getsignal(number))]


@contextmanager
def _handled_by(
    handler: Callable[[int, FrameType | None], None], warnings: Sequence[int]
) -> Iterator[dict[int, Any]]:
    """Handle SIGINT, SIGTERM and these warnings in the block; it gets the handlers from before."""
    if threading.current_thread() is not threading.main_thread():
        yield {}  # only the main thread gets signals, and only it may set handlers
        return
    numbers = (*_URGENT, *warnings)
    before: dict[int, Any] = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield before
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def stop_with_parent() -> None:
    """Send this process SIGHUP once the program that started it has ended, as a terminal does.

    Killing `mlflow run` also stops the program it started. Where the signal that ended `mlflow run`
    has reached this process too, the SIGHUP adds nothing. Where SIGHUP is ignored, the next of the
    warnings stands in for it.
    """
    first, number = _parent_program(), next(iter(_heeded_warnings()), signal.SIGTERM)

    def watch() -> None:
        while _parent_program() == first:
            sleep(_POLL_SECONDS)
        os.kill(os.getpid(), number)

    Thread(target=watch, daemon=True).start()


def _parent_program() -> int:
    """The number of the process that started this one, shells in between left out."""
    with suppress(psutil.Error):
        process = psutil.Process()
        while process := process.parent():
            if process.name() not in _SHELLS:
                return int(process.pid)
    return 0


def accept_all_output() -> None:
    """Let stdout and stderr accept everything from now on: writing to them raises no error.

    What a closed pipe, a closed terminal or a full disk does not take is lost. What the encoding
    lacks is written in ASCII. Streams that are closed are opened on the null device, as the next
    file, such as a database, would get their number. A stream that something else stands in for,
    as in a test or a notebook, is left alone.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    codecs.register_error("trackml.ascii", _in_ascii)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _accepting(sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _accepting(sys.stderr)


def _accepting(stream: TextIO | None) -> TextIO:
    """A stream to the same file that accepts everything; None is one that was closed."""
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8", errors="replace")
    if not isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO):
        return stream  # the console of Windows, which gets its texts otherwise
    with suppress(OSError):
        stream.flush()
    raw = io.BufferedWriter(_Accepting(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(raw, stream.encoding, "trackml.ascii", line_buffering=True)


class _Accepting(io.FileIO):
    """A file that claims to have written what it could not write."""

    def write(self, data: Any) -> int:
        try:
            while (count := super().write(data)) is None:  # it does not block, and is full
                select([], [self], [])
        except OSError:
            return len(data)
        return count


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """What an encoding lacks, as readable as ASCII has it: an error handler of `codecs`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_ASCII.get(each) or _plain(each) or "?" for each in lacking), error.end


def _plain(character: str) -> str:
    """A letter without its accents, or "" if it is none of ASCII."""
    return unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()


def this_process() -> str:
    """This process, host:number, for people: another container may have the same."""
    return f"{socket.gethostname()}:{os.getpid()}"


def this_kernel() -> str:
    """An id of the running system: the same in all its containers, another after each boot."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{socket.gethostname()}-{psutil.boot_time():.0f}"


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
