"""`mlflow run`, seen from the program that it has started."""

import os
import signal
from functools import cache
from pathlib import Path
from threading import Thread
from time import sleep

_SHELLS = {"bash", "sh", "dash", "zsh"}  # `mlflow run` has one start the program
_LOOK_SECONDS = 0.5


@cache
def launcher() -> int:
    """The number of the process that has started this one, but for shells in between.

    As it was when this was first asked: orphans are given to another.
    """
    return _launcher_now()


def _launcher_now() -> int:
    number = os.getppid()
    while _stat(number, "comm").strip() in _SHELLS:
        number = _parent(number)
    return number


def is_gone(number: int) -> bool:
    """Whether a process has ended, be it that nobody has taken note of it.

    The first of all, to which orphans are given, is nobody's parent.
    """
    if number <= 1:
        return True
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # of another user
    return _fields(number)[:1] == ["Z"]


def end_with_launcher() -> None:
    """Ask this process to stop, as SIGTERM does, once the one that has started it is no more.

    Who kills `mlflow run` does not mean to leave its program behind.
    """
    first = launcher()

    def watch() -> None:
        while _launcher_now() == first:
            sleep(_LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=watch, daemon=True).start()


def _parent(number: int) -> int:
    fields = _fields(number)
    return int(fields[1]) if fields else 0


def _fields(number: int) -> list[str]:
    """What Linux says of a process, from its state on; nothing on other systems."""
    return _stat(number, "stat").rpartition(")")[2].split()


def _stat(number: int, name: str) -> str:
    try:
        return Path("/proc", str(number), name).read_text()
    except OSError:
        return ""
