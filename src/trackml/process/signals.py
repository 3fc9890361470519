"""Requests to stop: signals, and the end of the program that started this one."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from threading import Thread
from time import monotonic, sleep
from types import FrameType
from typing import Any

import psutil

from trackml.errors import Terminated

_URGENT = (signal.SIGINT, signal.SIGTERM)  # a second one, some time later, does not wait
# Of a closed terminal, of batch systems, which may repeat them, of Ctrl-\. Windows lacks them.
_END_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU", "SIGQUIT")
    if hasattr(signal, name)
)
ECHO_SECONDS = 0.5
_SHELLS = {"bash", "sh", "dash", "zsh"}  # `mlflow run` starts the program through one
_POLL_SECONDS = 0.5


@contextmanager
def stop_requests() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, SIGTERM raises Terminated; echoes of a request do nothing.

    One Ctrl-C often arrives more than once: the terminal signals the whole group, and `mlflow run`
    then signals its child again. A second request, some time later, raises again.

    SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU and SIGQUIT raise Terminated too, but only as the first
    request. What the program was started to ignore, as by `nohup`, stays ignored.
    """
    last: float | None = None

    def request(number: int, _frame: FrameType | None) -> None:
        nonlocal last
        if last is not None and (number not in _URGENT or monotonic() - last < ECHO_SECONDS):
            return
        last = monotonic()
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise Terminated("" if number == signal.SIGTERM else signal.Signals(number).name)

    with _handled_by(request, _not_ignored((*_URGENT, *_END_SIGNALS))):
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
        while arrived:  # one that arrives in here is delivered too
            number = next(iter(arrived))
            del arrived[number]
            signal.signal(number, before[number])
            signal.raise_signal(number)

    try:
        with _handled_by(note, _handled()) as before:
            yield deliver
    finally:  # once the handlers are those from before: one that arrives until then is in `arrived`
        for number in list(arrived):
            signal.raise_signal(number)


@contextmanager
def stop_even_if_lost() -> Iterator[None]:
    """Deliver a request to stop at once, and again at the end of the block if that was lost.

    Compiled code may discard the exception of a signal, or raise one of its own instead.
    """
    requests: list[BaseException] = []

    def request(number: int, frame: FrameType | None) -> None:
        try:
            before[number](number, frame)
        except BaseException as error:
            requests.append(error)
            raise

    numbers = [number for number in _handled() if callable(signal.getsignal(number))]
    with _handled_by(request, numbers) as before:
        try:
            yield
        except Exception:  # of any kind: the one that compiled code raised for the request
            if not requests:
                raise
    if requests:
        raise requests[0]


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Finish the block first: a request to stop that arrives in it is delivered at its end."""
    arrived: list[int] = []
    try:
        with _handled_by(lambda number, _frame: arrived.append(number), _handled()):
            yield
    finally:
        for number in dict.fromkeys(arrived):
            signal.raise_signal(number)


def ignore_end_signals() -> None:
    """Ignore further ones: a program that is at its end needs none, and they would kill it."""
    for number in _END_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def block_end_signals() -> Iterator[None]:
    """Processes that this thread starts in the block get none of them: others will end them."""
    if not _END_SIGNALS:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _END_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _not_ignored(numbers: Sequence[int]) -> list[int]:
    """Those that this process was not started to ignore, as by `nohup`, or in the background."""
    return [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]


def _handled() -> list[int]:
    """SIGINT, SIGTERM, and those of the others that Python code handles, as `stop_requests`."""
    others = [number for number in _END_SIGNALS if callable(signal.getsignal(number))]
    return [*_not_ignored(_URGENT), *others]


@contextmanager
def _handled_by(
    handler: Callable[[int, FrameType | None], None], numbers: Sequence[int]
) -> Iterator[dict[int, Any]]:
    """Handle these signals in the block; it gets the handlers from before."""
    if threading.current_thread() is not threading.main_thread():
        yield {}  # only the main thread gets signals, and only it may set handlers
        return
    before: dict[int, Any] = {}
    with ExitStack() as put_back:  # all of them, also if a signal raises in between
        for number in numbers:
            before[number] = signal.signal(number, handler)
            put_back.callback(signal.signal, number, before[number])
        yield before


def stop_with_parent() -> None:
    """Send this process SIGHUP once the program that started it has ended, as a terminal does.

    Killing `mlflow run` also stops the program it started. Where the signal that ended `mlflow run`
    has reached this process too, the SIGHUP adds nothing. Where SIGHUP is ignored, another one
    stands in for it.
    """
    first, number = _parent_program(), next(iter(_not_ignored(_END_SIGNALS)), signal.SIGTERM)

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
