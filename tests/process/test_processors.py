"""Processors: no more threads than a quota allows, and none that waits in a busy loop."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trackml.process import processors as room
from trackml.process.processors import processors

SETTINGS = """
import json, os, numpy
from threadpoolctl import threadpool_info
from trackml.backends import program_settings
from trackml.process.processors import processors
names = "GOMP_SPINCOUNT", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"
with program_settings():
    inside = [os.environ.get(name) for name in names]
    blas = threadpool_info()[0]["num_threads"]
print(json.dumps([processors(), blas, *inside]))
"""
CPU_GROUPS = Path("/sys/fs/cgroup/cpu")


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_allowed", lambda: 64)


@pytest.mark.usefixtures("several")
@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ({}, 64),
    ],
)
def test_a_quota_of_a_container_is_rounded_up(
    files: dict[str, str], count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc = Path("/proc/self/cgroup")
    if not proc.exists():
        pytest.skip("this system has no control groups")  # only Linux has them
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="ascii")
    monkeypatch.setattr(room, "CGROUPS", tmp_path)
    assert processors() == count


def settings(before: str = "", **variables: str) -> list[object]:
    """What a new process has, in which these variables alone are set."""
    own = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
    own |= {"TF_NUM_INTRAOP_THREADS", "TRACKML_THREADS"}
    environment = {name: text for name, text in os.environ.items() if name not in own} | variables
    said = subprocess.run(
        [sys.executable, "-c", before + SETTINGS],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    answer: list[object] = json.loads(said.stdout)
    return answer


def test_threads_soon_sleep_and_what_a_user_has_set_stays() -> None:
    allowed = len(os.sched_getaffinity(0))
    assert settings() == [processors(), allowed, "100000", None, None]
    given = settings(OMP_WAIT_POLICY="ACTIVE", OMP_NUM_THREADS="1")
    assert given == [processors(), 1, None, "1", "1"]
    assert settings(GOMP_SPINCOUNT="7")[2] == "7"


def test_under_a_real_quota_libraries_start_fewer_threads() -> None:
    group = CPU_GROUPS / f"trackml-{os.getpid()}"
    if len(os.sched_getaffinity(0)) < 2 or not os.access(CPU_GROUPS, os.W_OK):
        pytest.skip("not two processors, or no right to make a control group")  # root alone has it
    group.mkdir()
    try:
        (group / "cpu.cfs_quota_us").write_text("90000")
        join = f"with open('{group}/tasks', 'w') as tasks: tasks.write('0')\n"
        assert settings(join) == [1, 1, "100000", "1", "1"]
    finally:
        group.rmdir()
