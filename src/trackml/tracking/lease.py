"""Which process holds a run: a lock, which the system releases with its process, and a heartbeat.

A process that sees the run's folder asks the lock beside it. Of another machine, whose locks may
not be visible here, and where the folder is not visible, the last heartbeat decides: the age of a
file beside the lock, or a tag of the run. Never a process number: other containers have it too.
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
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from trackml.errors import AlreadyActive
from trackml.files import lock_file, replace_file, shared_mode, writable
from trackml.process.system import this_kernel, this_process
from trackml.tracking.outbox import FAILURE_TAG, Outbox, now_ms

PROCESS_TAG = "trackml.process"
HEARTBEAT_TAG = "trackml.heartbeat"  # when the process that holds a run was alive, in milliseconds
BEAT_SECONDS = 15.0
LEASE_SECONDS = 60.0  # after the last heartbeat a run counts as dead
END_SECONDS = 5.0  # to wait for a heartbeat that is being sent
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # errors of file systems without


class Holder(NamedTuple):
    """The process that held a run last, where its lock counts, and seconds since its heartbeat."""

    process: str
    place: str
    seconds: float


@contextmanager
def run_lock(folder: Path, run_id: str = "") -> Iterator[bool]:
    """Hold the run of an outbox for the block, whether its folder is there or not.

    Gives whether it is certain that no other process holds it: else the run's own heartbeat has to
    be asked as well, as a folder may be a copy.

    Raises:
        AlreadyActive: another process holds it.
        TrackmlError: the folder of all runs cannot be written.
    """
    lock, file = lock_file(_beside(folder, "lock")), _beside(folder, "holder")
    purpose = "where runs are kept", "TRACKML_RUNS_DIR"
    sees_locks = True
    with writable(folder.parent, *purpose):
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise _already_active(run_id or folder.name, last_holder(folder), folder) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            sees_locks = False
    try:
        last = last_holder(folder)
        is_certain = sees_locks and last is not None and last.place == _place(folder)
        if last and not is_certain and last.seconds < LEASE_SECONDS:
            raise _already_active(run_id or folder.name, last, folder)
        with writable(folder.parent, *purpose):
            _sign(folder)
        failed = True
        try:
            yield is_certain
            failed = False
        finally:
            with suppress(OSError):
                if _is_ours(folder):
                    _beside(folder, "lock").unlink(missing_ok=True)
                    file.unlink(missing_ok=True)
                    if last and failed:  # the next attempt must find what this one found
                        _sign(folder, last)
    finally:
        lock.release()


def last_holder(folder: Path) -> Holder | None:
    """Who holds the run of an outbox, or was killed while it did; None if it is not known."""
    file = _beside(folder, "holder")
    try:
        process, place = file.read_text().split()
        return Holder(process, place, time.time() - file.stat().st_mtime)
    except (OSError, ValueError):  # it may not have been written yet
        return None


def check_lease(run: MlflowRun) -> None:
    """Raise AlreadyActive if a run may be held elsewhere: its folder is not here, or is a copy."""
    process, beat = (run.data.tags.get(tag) for tag in (PROCESS_TAG, HEARTBEAT_TAG))
    seconds = (now_ms() - int(beat)) / 1000 if beat else 0.0  # older versions have none
    if run.info.status == "RUNNING" and process and seconds < LEASE_SECONDS:
        raise _already_active(run.info.run_id, Holder(process, "", seconds))


def _already_active(
    run_id: str, holder: Holder | None, folder: Path | None = None
) -> AlreadyActive:
    who = f" ({holder.process}, alive {max(holder.seconds, 0):.0f} s ago)" if holder else ""
    is_here = folder and holder and holder.place == _place(folder)
    release = f"; if it surely is dead, `python -m trackml runs --release {run_id}`"
    return AlreadyActive(
        f"another process{who} is at work on run {run_id}; wait for its end, or stop it"
        + ("" if is_here else release)
    )


def release(folder: Path, run_id: str) -> bool:
    """Take a run from the process that held it; true if its folder said that one did.

    Raises:
        AlreadyActive: that process is alive on this machine, where the folder is visible.
        TrackmlError: the folder of all runs cannot be written.
    """
    holder = last_holder(folder)
    if not folder.parent.is_dir():
        return False
    with writable(folder.parent, "where runs are kept", "TRACKML_RUNS_DIR"):
        try:
            with lock_file(_beside(folder, "lock")).acquire(blocking=False):
                pass
        except Timeout:
            if not holder or holder.place == _place(folder):
                raise _already_active(run_id, holder, folder) from None
        for kind in ("lock", "holder"):
            _beside(folder, kind).unlink(missing_ok=True)
    return holder is not None


@contextmanager
def heartbeat(client: MlflowClient, outbox: Outbox) -> Iterator[None]:
    """Tell others in the block that this process holds the run, every BEAT_SECONDS."""
    ended = Event()

    def beat() -> None:
        while not ended.wait(BEAT_SECONDS):
            with suppress(OSError):  # the disk may be full
                if outbox.is_kept and (not last_holder(outbox.folder) or _is_ours(outbox.folder)):
                    _sign(outbox.folder)
            with suppress(Exception):  # the store may be away; the next one may reach it
                _beat(client, outbox, ended)

    thread = Thread(target=beat, daemon=True)
    if MLFLOW_PARENT_RUN_ID not in outbox.state.tags:  # a trial is held with its sweep
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if thread.is_alive():
            thread.join(END_SECONDS)


def _beat(client: MlflowClient, outbox: Outbox, ended: Event) -> None:
    if not outbox.state.run_id:
        return
    run = client.get_run(outbox.state.run_id)
    if run.info.status != "RUNNING" and not ended.is_set():
        client.update_run(run.info.run_id, status="RUNNING")
    forget_death(client, run, outbox)
    client.set_tag(run.info.run_id, HEARTBEAT_TAG, str(now_ms()))


def forget_death(client: MlflowClient, run: MlflowRun, outbox: Outbox) -> None:
    """Take the tag away that others gave a run which they took for dead, as the store was away."""
    if FAILURE_TAG in run.data.tags and FAILURE_TAG not in outbox.state.tags:
        client.delete_tag(run.info.run_id, FAILURE_TAG)
        del run.data.tags[FAILURE_TAG]


def _sign(folder: Path, holder: Holder | None = None) -> None:
    """Write who holds a run: this process now, or another one some time ago."""
    holder = holder or Holder(this_process(), _place(folder), 0.0)
    file, then = _beside(folder, "holder"), time.time() - holder.seconds
    content = f"{holder.process}\n{holder.place}\n".encode()
    mode = shared_mode(folder.parent)
    replace_file(file, lambda draft: draft.write(content), permissions=mode)
    os.utime(file, (then, then))


def _is_ours(folder: Path) -> bool:
    holder = last_holder(folder)
    return bool(holder and holder[:2] == (this_process(), _place(folder)))


def _place(folder: Path) -> str:
    """Where a lock beside a folder counts: the running system, and the folder as it is mounted."""
    status = folder.parent.stat()
    return f"{this_kernel()}:{status.st_dev}:{status.st_ino}"


def _beside(folder: Path, kind: str) -> Path:
    return folder.with_name(f"{folder.name}.{kind}")
