"""SIGINT and SIGTERM: a request to stop, once, that does not break what must not break."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType
from typing import Any

from trackml.errors import Terminated

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
ECHO_SECONDS = 0.5


@contextmanager
def stop_requests() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, and SIGTERM raises Terminated; echoes of it do nothing.

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
def at_next_call() -> Iterator[Callable[[], None]]:
    """Deliver a request to stop when the function that this gives is called, or at the end.

    So that what is between two calls is finished. A second request, some time later, does not wait.
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
    """Handle signals so in the block, which gets what handled them before."""
    if threading.current_thread() is not threading.main_thread():
        yield {}  # only the main thread gets signals, and only it may set handlers
        return
    before: dict[int, Any] = {number: signal.signal(number, handler) for number in STOP_SIGNALS}
    try:
        yield before
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
