"""What this process has from its system: names, a user, a private folder, variables."""

import getpass
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from platformdirs import user_cache_path, user_config_path


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
