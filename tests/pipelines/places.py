"""Where a program may run: in a container, or as another user of the machine."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import execute

OTHER_USER = 54321  # which the system does not know


def container(name: str) -> tuple[str, ...]:
    """What starts a program as process 1 of a machine of that name, as in a container."""
    own = ("unshare", "--pid", "--uts", "--fork", "--mount-proc", "--kill-child")
    return (*own, "sh", "-c", 'hostname "$0" && exec "$@"', name)


def user(number: int) -> tuple[str, ...]:
    """What starts a program as a user who can read, but not write, the files of others."""
    # Python may be installed in another user's home.
    may_read = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search")
    return ("setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups", *may_read)


def _works(*words: str) -> bool:
    is_there = bool(shutil.which(words[0]))
    return is_there and not execute(*words, "true", folder=Path()).returncode


needs_containers = pytest.mark.skipif(
    not _works(*container("box")), reason="this system makes no namespaces for this user"
)
needs_users = pytest.mark.skipif(
    not _works(*user(OTHER_USER)), reason="only root may act as another user"
)
