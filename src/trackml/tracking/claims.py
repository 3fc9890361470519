"""Which runs the processes of this machine are at work on."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from trackml.errors import AlreadyActive


@contextmanager
def claimed(journal: str, run_id: str = "") -> Iterator[None]:
    """Hold a run for this process. The system lets go of it when the process dies, however it does.

    Args:
        journal: what it is called here.
        run_id: what it is called in MLflow, if it is known there.

    Raises:
        AlreadyActive: another process of this machine holds it.
    """
    # Not in the store's folder or the current one: both may differ between the two processes.
    path = Path(tempfile.gettempdir(), f"trackml-{journal}.lock")
    holder = path.with_suffix(".pid")  # not in the lock itself, which whoever tries empties
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise AlreadyActive(
            f"another process{_number_in(holder)} is at work on run {run_id or journal}; wait for "
            "its end, or stop it"
        ) from None
    try:
        holder.write_text(str(os.getpid()))
        yield
    finally:
        holder.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        lock.release()


def _number_in(holder: Path) -> str:
    try:
        return f" ({int(holder.read_text())})"
    except (OSError, ValueError):
        return ""  # it holds the lock, but has not said so yet
