"""Ray: a cluster on this machine or elsewhere, and how many trials share it.

Ray is imported here, after the settings that it reads as it is imported.
"""

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import grpc

import trackml
from trackml.errors import TrackmlError, UsageError
from trackml.fields import DeviceName
from trackml.signals import kept_handlers

ANSWER_SECONDS = 5.0  # for a cluster to say anything
_OBJECTS_BYTES = 100_000_000  # Ray's store of objects: trials get a few kilobytes
_SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # a call after the end would start another cluster
    "RAY_USAGE_STATS_ENABLED": "0",  # it would report to its makers
    "RAY_worker_niceness": "0",  # trials are what the machine is there for
    "RAY_AIR_NEW_OUTPUT": "0",  # a panel on stdout, whatever the verbosity
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # MLflow has it all
}


def _has_token() -> bool:
    given = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    return bool(given) or Path("~/.ray/auth_token").expanduser().exists()


for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)
if not _has_token():
    # For a cluster of our own. Ray would leave one in the home folder, and from then on lock its
    # owner out of clusters that were started without.
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)

import ray  # noqa: E402
from ray import tune  # noqa: E402

__all__ = ["Resources", "Share", "cluster", "ray", "shared", "tune"]


@dataclass(frozen=True)
class Resources:
    """What a Ray cluster has in all, and the processors of its largest machine."""

    cpus: float
    cpus_of_largest: float
    gpus: float


@dataclass(frozen=True)
class Share:
    """So many trials at once, and what each of them gets, as Ray counts it: "cpu" and "gpu"."""

    at_once: int
    each: dict[str, float]


@contextmanager
def cluster(address: str) -> Iterator[Resources]:
    """A connection to a Ray cluster; "local" starts one that ends with the block.

    Raises:
        TrackmlError: nobody answers at the address.
    """
    _check_address(address)
    options: dict[str, Any] = {"runtime_env": {"py_modules": _packages()}}
    if address == "local":
        options = {"include_dashboard": False, "object_store_memory": _OBJECTS_BYTES}
    with kept_handlers():
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise TrackmlError(f"--ray_address {address}: {error}") from None
    try:
        nodes = ray.nodes()  # type: ignore[no-untyped-call]
        machines = [node["Resources"] for node in nodes if node["Alive"]]
        cpus = [machine.get("CPU", 0.0) for machine in machines]
        gpus = sum(machine.get("GPU", 0.0) for machine in machines)
        yield Resources(sum(cpus), max(cpus), gpus)
    finally:
        ray.shutdown()


def shared(
    resources: Resources, trials: int, concurrency: int | Literal["auto"], device: DeviceName
) -> Share:
    """How many trials run at a time, and what each of them gets.

    Several share a GPU only if `concurrency` says so. No trial gets more processors than the
    largest machine has.

    Raises:
        UsageError: "cuda" was asked for, and the cluster has no GPU.
    """
    if device == "cuda" and not resources.gpus:
        raise UsageError("--device cuda: there is no GPU in the Ray cluster; use auto or cpu")
    gpus = 0.0 if device == "cpu" else resources.gpus
    most = int(gpus or resources.cpus) if concurrency == "auto" else concurrency
    at_once = max(1, min(most, trials))
    cpus = min(resources.cpus / at_once, resources.cpus_of_largest)
    each = {"cpu": float(int(cpus)) if cpus >= 1 else cpus}
    if gpus:
        each["gpu"] = min(1.0, gpus / at_once)
    return Share(at_once, each)


def _check_address(address: str) -> None:
    """Ray itself waits for a minute and more for a cluster that is not there."""
    if address in ("local", "auto"):
        return
    host = address.removeprefix("ray://")
    with grpc.insecure_channel(host) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=ANSWER_SECONDS)
        except grpc.FutureTimeoutError:
            raise TrackmlError(
                f"--ray_address {address}: no Ray cluster answers there; start one with "
                "`ray start --head`, or leave it at local"
            ) from None


def _packages() -> list[str]:
    """The folders of this code, which a cluster gets sent: those that it has may be older."""
    import pipelines

    modules = (trackml, pipelines)
    return [str(Path(str(module.__file__)).parent) for module in modules]
