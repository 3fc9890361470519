"""Ray: a cluster on this machine or elsewhere, and how many trials share it.

Ray is imported here, after the settings that it reads as it is imported.
"""

import logging
import math
import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import grpc

from trackml.errors import TrackmlError, UsageError, one_line
from trackml.fields import DeviceName
from trackml.signals import deferred_signals

ANSWER_SECONDS = 5.0  # for a cluster to say anything
_OBJECTS_BYTES = 100_000_000  # Ray's store of objects: trials get a few kilobytes
_SETTINGS = {
    "RAY_ENABLE_AUTO_CONNECT": "0",  # a call after the end would start another cluster
    "RAY_USAGE_STATS_ENABLED": "0",  # it would report to its makers
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",  # SIGTERM is a request, no crash
    "RAY_worker_niceness": "0",  # trials are what the machine is there for
    "RAY_AIR_NEW_OUTPUT": "0",  # a panel on stdout, whatever the verbosity
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths mean in a trial what they mean here
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # MLflow has it all
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that fails has no score
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",  # for a pruned trial to end its run
}


def _has_token() -> bool:
    given = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    return bool(given) or Path("~/.ray/auth_token").expanduser().exists()


for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)
if _has_token():  # as `ray start` does; both sides must be of the same mind
    os.environ.setdefault("RAY_AUTH_MODE", "token")

import ray  # noqa: E402
from ray import tune  # noqa: E402

__all__ = ["Resources", "Share", "cluster", "ray", "share_out", "tune"]


@dataclass(frozen=True)
class Resources:
    """What the machines of a Ray cluster have: processor cores of each, GPUs of all.

    `hosts` are the different network addresses among them.
    """

    cpus: tuple[int, ...]
    gpus: int = 0
    hosts: int = 1


@dataclass(frozen=True)
class Share:
    """So many trials at once, and what each of them gets, as Ray counts it: "cpu" and "gpu".

    Ray tells the libraries of a worker, by OMP_NUM_THREADS, to use as many threads as it has cores,
    unless that is set where Ray was started.
    """

    at_once: int
    each: dict[str, float]


@contextmanager
def cluster(address: str, packages: Sequence[str] = ("trackml",)) -> Iterator[Resources]:
    """A connection to a Ray cluster; "local" starts one that ends with the block.

    Args:
        packages: names of imported packages that are sent to another cluster, as what its machines
            have installed may be older.

    Raises:
        TrackmlError: nobody answers at the address, or this process is connected to Ray already.
    """
    if ray.is_initialized():
        raise TrackmlError("this process is connected to Ray already; call ray.shutdown() first")
    _check_address(address)
    folders = [str(Path(str(sys.modules[name].__file__)).parent) for name in packages]
    options: dict[str, Any] = {"runtime_env": {"py_modules": folders}}
    if address == "local":
        options = {"include_dashboard": False, "object_store_memory": _OBJECTS_BYTES}
    with ExitStack() as afterwards:
        if address == "local":
            afterwards.enter_context(_token_of_its_own())
        # Ray's processes end with the thread that starts them, so it lives as long as they.
        starter = afterwards.enter_context(ThreadPoolExecutor(1))
        afterwards.callback(ray.shutdown)
        # In the main thread Ray would take SIGTERM over. A request to stop waits until Ray is
        # there: in the midst of its start it would crash, or hang.
        with deferred_signals():
            nodes = starter.submit(_connect, address, options).result()
        alive = [node for node in nodes if node["Alive"]]
        yield Resources(
            cpus=tuple(int(node["Resources"].get("CPU", 0)) for node in alive),
            gpus=int(sum(node["Resources"].get("GPU", 0) for node in alive)),
            hosts=len({node["NodeManagerAddress"] for node in alive}),
        )


def _connect(address: str, options: Mapping[str, Any]) -> list[Any]:
    """The nodes of the cluster that this process is connected to now."""
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise TrackmlError(f"--ray_address {address}: {one_line(error)}") from None
    nodes: list[Any] = ray.nodes()  # type: ignore[no-untyped-call]
    return nodes


@contextmanager
def _token_of_its_own() -> Iterator[None]:
    """Let a cluster of this process have a token that goes with it.

    Ray would make one and leave it in the home folder, and from then on lock its owner out of
    clusters that were started without.
    """
    before = {name: os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
    if not _has_token():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def share_out(
    resources: Resources, trials: int, concurrency: int | Literal["auto"], device: DeviceName
) -> Share:
    """How many trials run at a time, and what each of them gets.

    As many processor cores as all of them at once find room for, each on one machine; a part of
    one where there are more trials than cores. Several share a GPU only if `concurrency` says so.

    Raises:
        UsageError: "cuda" was asked for, and the cluster has no GPU.
    """
    if device == "cuda" and not resources.gpus:
        raise UsageError("--device cuda: there is no GPU in the Ray cluster; use auto or cpu")
    gpus = 0 if device == "cpu" else resources.gpus
    cores = sum(resources.cpus)
    most = (gpus or cores) if concurrency == "auto" else concurrency
    at_once = max(1, min(most, trials))

    def room(each: int) -> int:
        return sum(machine // each for machine in resources.cpus)

    whole = [each for each in range(1, cores + 1) if room(each) >= at_once]
    share = {"cpu": float(max(whole)) if whole else 1 / math.ceil(at_once / cores)}
    if gpus:
        share["gpu"] = 1 / math.ceil(at_once / gpus)
    return Share(at_once, share)


def _check_address(address: str) -> None:
    """Ray itself waits for a minute and more for a cluster that is not there."""
    if address in ("local", "auto") or os.environ.get("RAY_USE_TLS") == "1":
        return  # with TLS the question would need the cluster's certificates
    host = address.removeprefix("ray://")
    with grpc.insecure_channel(host) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=ANSWER_SECONDS)
        except grpc.FutureTimeoutError:
            raise TrackmlError(
                f"--ray_address {address}: no Ray cluster answers there; start one with "
                "`ray start --head`, or leave it at local"
            ) from None
