"""A request to stop waits for what must be finished, and no longer."""

import os
import signal
from collections.abc import Callable

import pytest

from trackml import signals
from trackml.signals import at_next_call, deferred_signals, stop_requests


def ask(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


def stopped(program: Callable[[list[str]], None]) -> list[str]:
    """What a program has done when a request to stop has ended it."""
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt), stop_requests():
        program(done)
    return done


def test_it_waits_for_the_next_call() -> None:
    def program(done: list[str]) -> None:
        with at_next_call() as stop_if_asked:
            stop_if_asked()
            ask()
            done.append("batch")
            stop_if_asked()
            done.append("next batch")

    assert stopped(program) == ["batch"]


def test_it_waits_for_the_end_where_no_call_comes() -> None:
    def program(done: list[str]) -> None:
        with at_next_call():
            ask()
            done.append("last batch")
        done.append("more")

    assert stopped(program) == ["last batch"]


def test_an_echo_does_not_end_the_wait_and_a_second_request_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(signals, "monotonic", lambda: now)

    def program(done: list[str]) -> None:
        nonlocal now
        with at_next_call():
            ask()
            now += 0.9 * signals.ECHO_SECONDS
            ask()
            done.append("echo")
            now += 0.2 * signals.ECHO_SECONDS
            ask()
            done.append("second request")

    assert stopped(program) == ["echo"]


def test_what_is_deferred_is_delivered_at_the_end() -> None:
    def program(done: list[str]) -> None:
        with deferred_signals():
            ask()
            done.append("all of it")
        done.append("more")

    assert stopped(program) == ["all of it"]
