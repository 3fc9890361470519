"""Requests to stop: signals, and the end of the program that started this one."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Thread
from time import monotonic, sleep
from types import FrameType
from typing import Any

import psutil

from trackml.errors import Terminated

_URGENT = (signal.SIGINT, signal.SIGTERM)  # a second one, some time later, does not wait
# From a closed terminal, from batch systems, which may repeat them, by Ctrl-\. Windows lacks them.
_WARNINGS = tuple(
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
