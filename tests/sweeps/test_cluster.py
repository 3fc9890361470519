"""How a cluster's processors and GPUs are shared among trials, and what is asked of its address."""

import math
import signal
import socket
from pathlib import Path

import psutil
import pytest
from hypothesis import given, strategies as st

from trackml.errors import TrackmlError, UsageError
from trackml.sweeps.cluster import ANSWER_SECONDS, Resources, allot, cluster, ray

SMALL = Resources((2,))
LARGE = Resources((64,))
TWO_MACHINES = Resources((4, 4))
UNEVEN = Resources((3, 3))
WITH_GPUS = Resources((16,), gpus=2)


@pytest.mark.parametrize(
    ("resources", "trials", "concurrency", "device", "at_once", "each"),
    [
        (SMALL, 12, "auto", "auto", 2, {"cpu": 1}),
        (SMALL, 1, "auto", "auto", 1, {"cpu": 2}),
        (SMALL, 12, 1, "auto", 1, {"cpu": 2}),
        (SMALL, 12, 4, "auto", 4, {"cpu": 0.5}),
        (SMALL, 12, 3, "auto", 3, {"cpu": 0.5}),
        (LARGE, 12, "auto", "auto", 12, {"cpu": 5}),
        (LARGE, 12, 100, "auto", 12, {"cpu": 5}),
        (TWO_MACHINES, 12, 1, "auto", 1, {"cpu": 4}),
        (TWO_MACHINES, 12, 3, "auto", 3, {"cpu": 2}),
        (UNEVEN, 12, 3, "auto", 3, {"cpu": 1}),
        (UNEVEN, 12, 2, "auto", 2, {"cpu": 3}),
        (WITH_GPUS, 12, "auto", "auto", 2, {"cpu": 8, "gpu": 1}),
        (WITH_GPUS, 12, "auto", "cuda", 2, {"cpu": 8, "gpu": 1}),
        (WITH_GPUS, 12, 3, "auto", 3, {"cpu": 5, "gpu": 0.5}),
        (WITH_GPUS, 12, 8, "auto", 8, {"cpu": 2, "gpu": 0.25}),
        (WITH_GPUS, 12, "auto", "cpu", 12, {"cpu": 1}),
    ],
)
def test_cores_and_gpus_are_shared_equally(
    resources: Resources,
    trials: int,
    concurrency: int,
    device: str,
    at_once: int,
    each: dict[str, float],
) -> None:
    allotment = allot(resources, trials, concurrency, device)  # type: ignore[arg-type]
    assert (allotment.concurrency, allotment.per_trial) == (at_once, each)


@given(
    st.lists(st.integers(0, 16), min_size=1, max_size=4).filter(any),
    st.integers(0, 8),
    st.integers(1, 99),
)
def test_all_trials_of_a_moment_find_room_on_machines(
    cpus: list[int], gpus: int, concurrency: int
) -> None:
    allotment = allot(Resources(tuple(cpus), gpus), 200, concurrency, "auto")
    nearly = 1e-6  # of a third, three make one
    assert (
        sum(math.floor(m / allotment.per_trial["cpu"] + nearly) for m in cpus)
        >= allotment.concurrency
    )
    if gpus:
        assert gpus * math.floor(1 / allotment.per_trial["gpu"] + nearly) >= allotment.concurrency


def test_a_gpu_that_no_machine_has_is_refused() -> None:
    with pytest.raises(UsageError, match="--device cuda: there is no GPU in the Ray cluster"):
        allot(SMALL, 12, "auto", "cuda")


@pytest.mark.parametrize("scheme", ["", "ray://"])
@pytest.mark.parametrize("somebody_else_listens", [False, True])
def test_an_address_without_a_cluster_is_refused_though_it_never_answers(
    scheme: str, somebody_else_listens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ANSWER_SECONDS < 10
    monkeypatch.setattr("trackml.sweeps.cluster.ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"{scheme}127.0.0.1:{server.getsockname()[1]}"
        if not somebody_else_listens:
            server.close()
        with pytest.raises(TrackmlError, match="no Ray cluster answers there"), cluster(address):
            pass


def test_a_process_that_uses_ray_already_is_told_so() -> None:
    with cluster("local"):
        with pytest.raises(TrackmlError, match=r"call ray.shutdown\(\) first"), cluster("local"):
            pass
        assert ray.is_initialized()
    assert not ray.is_initialized()


def test_the_processes_of_a_cluster_survive_a_closed_terminal() -> None:
    """Which signals all of them; the sweep ends them after its runs."""
    others = psutil.Process().children()
    with cluster("local"):
        for process in set(psutil.Process().children()).difference(others):
            process.send_signal(signal.SIGHUP)
        assert ray.get(ray.remote(lambda: 1).remote(), timeout=60) == 1


def test_a_local_cluster_has_a_short_folder_of_its_own_and_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's own is shared with other users, and below $TMPDIR, in which a socket may not fit."""
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    with cluster("local"):
        folder = Path(ray.get_runtime_context().get_temp_dir()).parent
        assert folder.stat().st_mode & 0o777 == 0o700
        assert folder.parent != long
    assert not folder.exists()
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    with pytest.raises(TrackmlError, match="set RAY_TMPDIR to a short path"), cluster("local"):
        pass
