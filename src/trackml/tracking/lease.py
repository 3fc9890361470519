"""Who holds a run: a lock that the system releases with its process, and signs of life.

Who sees the run's folder asks the lock beside it. Of a process of another machine, whose locks may
not be seen here, and of a run whose folder is not here, the last sign of life decides: the age of a
file beside the lock, and a tag of the run. Never a process number: another container has the same.
"""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

from filelock import Timeout
from mlflow.entities import Run as MlflowRun
from mlflow.tracking import MlflowClient

from trackml.errors import AlreadyActive
from trackml.files import lock_file, writable
from trackml.process.system import this_kernel, this_process
from trackml.tracking.outbox import FAILURE_TAG, Outbox, now_ms

PROCESS_TAG = "trackml.process"
HEARTBEAT_TAG = "trackml.heartbeat"  # when the process that holds a run was alive, in milliseconds
BEAT_SECONDS = 15.0
LEASE_SECONDS = 60.0  # after the last sign of life a run counts as dead
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # errors of file systems without


class Holder(NamedTuple):
    """The process that held a run last, the system it ran on, seconds since its sign of life."""

    process: str
    kernel: str
    seconds: float


@contextmanager
def run_lock(folder: Path, run_id: str = "") -> Iterator[None]:
    """Hold the run of an outbox for the block, whether its folder is there or not.

    Raises:
        AlreadyActive: another process holds it.
        TrackmlError: the folder of all runs cannot be written.
    """
    lock, file = lock_file(_beside(folder, "lock")), _beside(folder, "holder")
    sees_locks = True
    with writable(folder.parent, "where runs are kept", "TRACKML_RUNS_DIR"):
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise already_active(run_id or folder.name, last_holder(folder)) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            sees_locks = False
    try:
        last = last_holder(folder)
        has_ended = not last or (sees_locks and last.kernel == this_kernel())
        if last and not has_ended and last.seconds < LEASE_SECONDS:
            raise already_active(run_id or folder.name, last)
        with writable(folder.parent, "where runs are kept", "TRACKML_RUNS_DIR"):
            file.write_text(f"{this_process()}\n{this_kernel()}\n")
        try:
            yield
        finally:
            file.unlink(missing_ok=True)
            _beside(folder, "lock").unlink(missing_ok=True)
    finally:
        lock.release()


def last_holder(folder: Path) -> Holder | None:
    """Who holds the run of an outbox, or was killed while it did; None if it is not known."""
    file = _beside(folder, "holder")
    try:
        process, kernel = file.read_text().split()
        return Holder(process, kernel, time.time() - file.stat().st_mtime)
    except (OSError, ValueError):  # it may not have been written yet
        return None


def check_lease(run: MlflowRun) -> None:
    """Raise AlreadyActive if a run whose folder is not here may be held elsewhere."""
    beat = run.data.tags.get(HEARTBEAT_TAG)
    seconds = (now_ms() - int(beat)) / 1000 if beat else 0.0  # of older versions it is not known
    if run.info.status == "RUNNING" and seconds < LEASE_SECONDS:
        process = run.data.tags.get(PROCESS_TAG, "unknown")
        raise already_active(run.info.run_id, Holder(process, "", seconds))


def already_active(run_id: str, holder: Holder | None) -> AlreadyActive:
    """The error of a run that another process holds."""
    who = f" ({holder.process}, alive {max(holder.seconds, 0):.0f} s ago)" if holder else ""
    return AlreadyActive(
        f"another process{who} is at work on run {run_id}; wait for its end, or stop it; "
        f"if it surely is dead, `python -m trackml runs --release {run_id}`"
    )


def release(folder: Path, run_id: str) -> None:
    """Take a run from the process that held it.

    Raises:
        AlreadyActive: that process is alive on this machine.
    """
    holder, lock = last_holder(folder), lock_file(_beside(folder, "lock"))
    if folder.parent.is_dir():
        try:
            with lock.acquire(blocking=False):
                pass
        except Timeout:
            if holder and holder.kernel == this_kernel():
                raise already_active(run_id, holder) from None
    for kind in ("lock", "holder"):
        _beside(folder, kind).unlink(missing_ok=True)


@contextmanager
def signs_of_life(client: MlflowClient, outbox: Outbox) -> Iterator[None]:
    """Tell others in the block that the run is held, every BEAT_SECONDS."""
    ended = Event()

    def beat() -> None:
        while not ended.wait(BEAT_SECONDS):
            with suppress(Exception):  # the store may be away; the next one may reach it
                _beat(client, outbox)

    thread = Thread(target=beat, daemon=True)
    if outbox.is_kept:  # a trial is held with its sweep
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if outbox.is_kept:
            thread.join(BEAT_SECONDS)


def _beat(client: MlflowClient, outbox: Outbox) -> None:
    os.utime(_beside(outbox.folder, "holder"))
    if not outbox.state.run_id:
        return
    run = client.get_run(outbox.state.run_id)
    if run.info.status != "RUNNING":  # somebody took it for dead while the store was away
        client.update_run(run.info.run_id, status="RUNNING")
        if FAILURE_TAG in run.data.tags:
            client.delete_tag(run.info.run_id, FAILURE_TAG)
    client.set_tag(run.info.run_id, HEARTBEAT_TAG, str(now_ms()))


def _beside(folder: Path, kind: str) -> Path:
    return folder.with_name(f"{folder.name}.{kind}")
