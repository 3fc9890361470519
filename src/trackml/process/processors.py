"""The processors that this process may use, and how its libraries share them with others."""

import math
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from trackml.process.system import environment

CGROUPS = Path("/sys/fs/cgroup")
SPINS, SPIN_COUNT = "GOMP_SPINCOUNT", "100000"  # rounds of a loop, before a thread of OpenMP sleeps
LIMIT = "TRACKML_THREADS"  # a variable that says that OMP_NUM_THREADS is not the user's


def processors() -> int:
    """How many processors this process may use: those that it may run on, within its quota.

    A container's quota of 1.5 counts as 2, as sleeping threads leave the processor to others.
    """
    return math.ceil(min(_allowed(), _quota()))


def _allowed() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota() -> float:
    """Seconds of all processors in a second, as Linux's control groups allow them."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return math.inf
    quotas = [math.inf]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = CGROUPS / "cpu" if controllers else CGROUPS
        # A container may see its path of outside, but only its own group, as the root.
        group = Path(path.strip("/"))
        quotas += [_quota_of(root / each) for each in (group, *group.parents)]
    return min(quotas)


def _quota_of(group: Path) -> float:
    """Of one group, in the second or the first version of control groups."""
    try:
        if group.is_relative_to(CGROUPS / "cpu"):
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            quota, period = ((group / name).read_text(encoding="ascii").strip() for name in names)
        else:
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):  # there is none, or it is of a kind that is not known
        return math.inf
    return math.inf if quota in ("max", "-1") else int(quota) / int(period)


@contextmanager
def shared_processors() -> Iterator[None]:
    """Limit the threads of libraries to the processors of this process; they do not wait busily.

    OpenMP's threads wait for each other in a loop of milliseconds: beside two busy processes on two
    cores, an epoch of PyTorch takes 20 times as long. Threads that sleep at once would make an
    epoch on an idle machine longer by a third. What the user has set stays.
    """
    variables = {}
    if "OMP_WAIT_POLICY" not in os.environ:
        variables[SPINS] = os.environ.get(SPINS, SPIN_COUNT)
    threads = os.environ.get("OMP_NUM_THREADS")  # of a user; in a trial of a sweep, of Ray
    if not threads and (count := processors()) < _allowed():
        threads = variables["OMP_NUM_THREADS"] = variables[LIMIT] = str(count)
    if threads:
        variables["TF_NUM_INTRAOP_THREADS"] = os.environ.get("TF_NUM_INTRAOP_THREADS", threads)
    limit = int(threads) if threads and threads.isdecimal() else None
    with environment(**variables), _limited_blas(limit) if limit else nullcontext():
        yield


def _limited_blas(threads: int) -> AbstractContextManager[object]:
    """NumPy's library has its threads by now, one for each processor."""
    from threadpoolctl import threadpool_limits  # here, as few programs need it

    limits: AbstractContextManager[object] = threadpool_limits(threads, "blas")
    return limits
