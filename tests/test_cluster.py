"""How a cluster's processors and GPUs are shared among trials, and what is asked of its address."""

import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackml.cluster import Resources, cluster, shared
from trackml.errors import TrackmlError, UsageError

SMALL = Resources(cpus=2, cpus_of_largest=2, gpus=0)
LARGE = Resources(cpus=64, cpus_of_largest=64, gpus=0)
TWO_MACHINES = Resources(cpus=8, cpus_of_largest=4, gpus=0)
WITH_GPUS = Resources(cpus=16, cpus_of_largest=16, gpus=2)


@pytest.mark.parametrize(
    ("resources", "trials", "concurrency", "device", "at_once", "each"),
    [
        (SMALL, 12, "auto", "auto", 2, {"cpu": 1}),
        (SMALL, 1, "auto", "auto", 1, {"cpu": 2}),
        (SMALL, 12, 1, "auto", 1, {"cpu": 2}),
        (SMALL, 12, 4, "auto", 4, {"cpu": 0.5}),
        (LARGE, 12, "auto", "auto", 12, {"cpu": 5}),
        (LARGE, 12, 100, "auto", 12, {"cpu": 5}),
        (TWO_MACHINES, 12, 1, "auto", 1, {"cpu": 4}),
        (TWO_MACHINES, 12, 3, "auto", 3, {"cpu": 2}),
        (WITH_GPUS, 12, "auto", "auto", 2, {"cpu": 8, "gpu": 1}),
        (WITH_GPUS, 12, "auto", "cuda", 2, {"cpu": 8, "gpu": 1}),
        (WITH_GPUS, 12, 8, "auto", 8, {"cpu": 2, "gpu": 0.25}),
        (WITH_GPUS, 12, "auto", "cpu", 12, {"cpu": 1}),
    ],
)
def test_processors_and_gpus_are_shared_equally(
    resources: Resources,
    trials: int,
    concurrency: int,
    device: str,
    at_once: int,
    each: dict[str, float],
) -> None:
    share = shared(resources, trials, concurrency, device)  # type: ignore[arg-type]
    assert (share.at_once, share.each) == (at_once, each)


@given(st.integers(1, 64), st.integers(1, 8), st.integers(0, 8), st.integers(1, 99))
def test_all_trials_of_a_moment_fit_into_the_cluster(
    cpus: int, machines: int, gpus: int, concurrency: int
) -> None:
    resources = Resources(cpus * machines, cpus, gpus)
    share = shared(resources, 200, concurrency, "auto")
    assert share.at_once * share.each["cpu"] <= resources.cpus + 1e-9
    assert share.each["cpu"] <= resources.cpus_of_largest
    assert share.at_once * share.each.get("gpu", 0) <= resources.gpus + 1e-9


def test_a_gpu_that_no_machine_has_is_refused() -> None:
    with pytest.raises(UsageError, match="--device cuda: there is no GPU in the Ray cluster"):
        shared(SMALL, 12, "auto", "cuda")


def test_an_address_where_nobody_listens_is_refused_within_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    started = time.monotonic()
    with (
        pytest.raises(TrackmlError, match="no Ray cluster answers there"),
        cluster(f"127.0.0.1:{port}"),
    ):
        pass
    assert time.monotonic() - started < 10


def test_an_address_where_somebody_else_listens_is_refused_within_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        started = time.monotonic()
        with (
            pytest.raises(TrackmlError, match="no Ray cluster answers there"),
            cluster(f"ray://127.0.0.1:{server.getsockname()[1]}"),
        ):
            pass
        assert time.monotonic() - started < 10
