"""Write files so that a crash or a power cut leaves the old content or the new, never a part."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from filelock import FileLock

from trackml.errors import TrackmlError


def replace_file(
    path: Path, save: Callable[[BinaryIO], object], *, permissions: int | None = None
) -> None:
    """Replace a file as a whole: until `save` has written all of the new one, the old one stays.

    Several processes may replace the same file at once.

    Args:
        permissions: such as 0o644; by default those that the umask gives to new files.

    Raises:
        OSError: the file cannot be written; the old one is intact.
    """
    draft = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with draft.open("xb") as file:
            save(file)
            file.flush()
            os.fsync(file.fileno())
        if permissions is not None:
            draft.chmod(permissions)
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Make a file, or the list of files in a folder, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_files(folder: Path) -> None:
    """Make all files below a folder survive a power cut."""
    for path in [folder, *folder.rglob("*")]:
        sync(path)


@contextmanager
def writable(folder: Path, purpose: str, variable: str) -> Iterator[None]:
    """Create a folder if necessary, and explain why it, or a file in it, cannot be written.

    Args:
        purpose: what the folder is, for the message: "where runs are kept".
        variable: environment variable that sets another folder.

    Raises:
        TrackmlError: the block, or creating the folder, raised an OSError.
    """
    try:
        _make(folder)
        yield
    except OSError as error:
        raise TrackmlError(
            f"cannot write to {folder}, {purpose}: {error.strerror or error}; files that were "
            f"there are intact; free some space, make the folder writable, or set {variable} to "
            "another folder"
        ) from error


def _make(folder: Path) -> None:
    """Create a folder if necessary; in one that users share for all of them, if the umask does."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        _make(folder.parent)
    folder.mkdir(exist_ok=True)
    mode, own = folder.parent.stat().st_mode, folder.stat().st_mode
    if mode & 0o022 and not mode & stat.S_ISVTX and own & 0o044:
        with suppress(PermissionError):  # another user was faster
            folder.chmod(mode & 0o777)
    sync(folder.parent)


def lock_file(path: Path) -> FileLock:
    """A lock for all users who may write into its folder."""
    mode = shared_mode(path.parent) if path.parent.is_dir() else -1
    return FileLock(path, mode=mode, fallback_to_soft=False)


def shared_mode(folder: Path) -> int:
    """Permissions of a file for all users who may write into its folder."""
    return folder.stat().st_mode & 0o666
