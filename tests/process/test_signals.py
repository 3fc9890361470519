"""A request to stop waits for what must be finished, and no longer."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

import psutil
import pytest

from trackml.errors import Terminated
from trackml.process import signals
from trackml.process.signals import (
    deferred_signals,
    stop_at_next_call,
    stop_even_if_lost,
    stop_requests,
)
from trackml.process.system import environment


def ask(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@dataclass
class Clock:
    """What the code takes for the time."""

    seconds: float = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(signals, "monotonic", lambda: made.seconds)
    return made


def stopped(
    program: Callable[[list[str]], None], by: type[BaseException] = KeyboardInterrupt
) -> list[str]:
    """What a program has done when a request to stop has ended it."""
    done: list[str] = []
    with pytest.raises(by), stop_requests():
        program(done)
    return done


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("instead", [None, ValueError("not a valid buffer")])
def test_compiled_code_may_lose_it(number: int, instead: Exception | None) -> None:
    """As scikit-learn's does, which then raises an error of its own, or none at all."""

    def program(done: list[str]) -> None:
        with stop_even_if_lost():
            try:
                ask(number)
            except BaseException:  # noqa: BLE001
                done.append("lost")
                if instead:
                    raise instead from None
            done.append("goes on")
        done.append("next step")

    by = KeyboardInterrupt if number == signal.SIGINT else Terminated
    assert stopped(program, by) == ["lost", *([] if instead else ["goes on"])]


def test_an_error_without_a_request_stays_that_error() -> None:
    with pytest.raises(ValueError, match="broken"), stop_even_if_lost():
        raise ValueError("broken")


def test_it_waits_for_the_next_call() -> None:
    def program(done: list[str]) -> None:
        with stop_at_next_call() as stop_if_asked:
            stop_if_asked()
            ask()
            done.append("batch")
            stop_if_asked()
            done.append("next batch")

    assert stopped(program) == ["batch"]


def test_it_waits_for_the_end_where_no_call_comes() -> None:
    def program(done: list[str]) -> None:
        with stop_at_next_call():
            ask()
            done.append("last batch")
        done.append("more")

    assert stopped(program) == ["last batch"]


@pytest.mark.parametrize("block", [stop_at_next_call, deferred_signals])
def test_a_request_that_arrives_while_the_handlers_are_put_back_is_not_lost(
    block: Callable[[], AbstractContextManager[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that stored an epoch just then went on for ever."""
    put_back, done = signal.signal, list[str]()

    def asked_once(number: int, handler: object) -> object:
        if done == ["the block"]:
            done.append("asked")
            ask(signal.SIGTERM)
        return put_back(number, handler)  # type: ignore[arg-type]

    def program(_: list[str]) -> None:
        with block():
            done.append("the block")
        done.append("next step")

    monkeypatch.setattr(signal, "signal", asked_once)
    stopped(program, Terminated)
    assert done == ["the block", "asked"]


def test_a_request_that_raises_between_two_handlers_leaves_none_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_back, done = signal.signal, list[str]()

    def asked_once(number: int, handler: object) -> object:
        replaced = put_back(number, handler)  # type: ignore[arg-type]
        if done == ["the block"]:
            done.append("asked")
            ask(number)
        return replaced

    def program(_: list[str]) -> None:
        usual = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        try:
            with stop_at_next_call():
                done.append("the block")
        finally:
            assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == usual

    monkeypatch.setattr(signal, "signal", asked_once)
    stopped(program, Terminated)
    assert done == ["the block", "asked"]


def test_a_request_that_arrives_while_another_is_delivered_is_not_lost() -> None:
    """Where the first one is ignored, the second one decides."""
    seen: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _frame: seen.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        signal.signal(signal.SIGINT, lambda *_: ask(signal.SIGTERM))
        with stop_at_next_call() as stop_if_asked:
            ask(signal.SIGINT)
            stop_if_asked()
            assert seen == [signal.SIGTERM]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_an_echo_does_not_end_the_wait_and_a_second_request_does(clock: Clock) -> None:
    def program(done: list[str]) -> None:
        with stop_at_next_call():
            ask()
            clock.seconds += 0.9 * signals.ECHO_SECONDS
            ask()
            done.append("echo")
            clock.seconds += 0.2 * signals.ECHO_SECONDS
            ask()
            done.append("second request")

    assert stopped(program) == ["echo"]


def test_a_warning_that_comes_again_or_after_a_request_is_no_second_request(clock: Clock) -> None:
    def program(done: list[str]) -> None:
        try:
            with stop_at_next_call():
                ask(signal.SIGXCPU)
                clock.seconds += 2 * signals.ECHO_SECONDS
                ask(signal.SIGXCPU)
                ask(signal.SIGHUP)
                done.append("batch")
        finally:
            clock.seconds += 2 * signals.ECHO_SECONDS
            ask(signal.SIGXCPU)
            done.append("last words")

    assert stopped(program, Terminated) == ["batch", "last words"]


OUT_OF_TIME = """
import time
from resource import RLIMIT_CPU, setrlimit
from trackml.cli import run_program

def program():
    used = int(time.process_time())
    setrlimit(RLIMIT_CPU, (used + 1, used + 60))
    try:
        while True:
            pass
    finally:
        end = time.process_time() + 1.5
        while time.process_time() < end:
            pass
        print("last words")

run_program(program, [])
"""


def test_processor_time_that_runs_out_ends_a_program_though_its_signal_comes_every_second() -> None:
    said = subprocess.run(
        [sys.executable, "-c", OUT_OF_TIME], capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout) == (143, "last words\n")
    assert said.stderr == "error: terminated (SIGXCPU)\n"


def test_a_request_after_a_warning_does_not_wait(clock: Clock) -> None:
    def program(done: list[str]) -> None:
        with stop_at_next_call():
            ask(signal.SIGUSR1)
            clock.seconds += 2 * signals.ECHO_SECONDS
            ask(signal.SIGTERM)
            done.append("batch")

    assert not stopped(program, Terminated)


def test_a_warning_that_is_ignored_stays_ignored_and_one_that_nobody_awaits_is_left_alone() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_requests(), stop_at_next_call(), deferred_signals():
            ask(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    with stop_at_next_call(), deferred_signals():
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_a_deferred_request_is_delivered_at_the_end() -> None:
    def program(done: list[str]) -> None:
        with deferred_signals():
            ask()
            done.append("all of it")
        done.append("more")

    assert stopped(program) == ["all of it"]


LAUNCHER = """
import subprocess, sys
subprocess.run(["bash", "-c", 'true; "$0" -c "$1"; true', sys.executable, sys.argv[1]])
"""
PROGRAM = """
import signal, sys, time
from trackml.process.signals import stop_with_parent
signal.signal(signal.SIGHUP, lambda *_: (print("stopped", flush=True), sys.exit()))
stop_with_parent()
print("ready", flush=True)
time.sleep(60)
"""


def test_a_program_stops_with_the_one_that_started_it_through_a_shell() -> None:
    """As `mlflow run` does. The shell alone is no reason to stop."""
    parent = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, PROGRAM], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    assert parent.stdout.readline() == "ready\n"
    shell, program = psutil.Process(parent.pid).children(recursive=True)
    assert (shell.name(), program.ppid()) == ("bash", shell.pid)
    time.sleep(2 * signals._POLL_SECONDS)
    assert program.is_running()
    parent.kill()
    assert parent.stdout.readline() == "stopped\n"
    parent.communicate()


def test_variables_of_the_environment_are_set_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OLD", "1")
    monkeypatch.setenv("GONE", "2")
    monkeypatch.delenv("NEW", raising=False)
    seen: list[object] = []
    with suppress(ValueError), environment(OLD="3", NEW="4", GONE=None):
        seen += [os.environ["OLD"], os.environ["NEW"], "GONE" in os.environ]
        raise ValueError("no")
    assert seen == ["3", "4", False]
    assert (os.environ["OLD"], "NEW" in os.environ, os.environ["GONE"]) == ("1", False, "2")
