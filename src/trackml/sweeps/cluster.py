"""Ray: a cluster on this machine or elsewhere, and what each trial gets of it.

Ray is imported here, after the settings that it reads as it is imported.
"""

import logging
import math
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import grpc

from trackml.errors import TrackmlError, UsageError, one_line
from trackml.params import DeviceName
from trackml.process.processors import LIMIT, processors
from trackml.process.signals import block_end_signals, deferred_signals
from trackml.process.system import environment

ANSWER_SECONDS = 5.0  # for a cluster to respond
_OBJECT_STORE_BYTES = 100_000_000  # trials get a few kilobytes from it
_SETTINGS = {
    "RAY_ENABLE_AUTO_CONNECT": "0",  # a call after the end would start another cluster
    "RAY_USAGE_STATS_ENABLED": "0",  # no reports to Ray's makers
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",  # SIGTERM is a request, not a crash
    "RAY_worker_niceness": "0",  # trials run at normal priority
    "RAY_AIR_NEW_OUTPUT": "0",  # a panel on stdout, whatever the verbosity
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths are the same in a trial as here
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # MLflow has it all
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that fails has no score
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",  # for a pruned trial to end its run
}


def _has_token() -> bool:
    names = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}
    file = Path(os.path.expanduser("~/.ray/auth_token"))  # noqa: PTH111  # there may be no home
    return bool(names & os.environ.keys()) or file.exists()


@cache
def _own_token() -> str:
    """A token for the clusters of this process, one for all of them: Ray reads it once."""
    return secrets.token_hex(32)


for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)
if _has_token():  # as `ray start` does: both sides of a connection need the same mode
    os.environ.setdefault("RAY_AUTH_MODE", "token")

import ray  # noqa: E402
from ray import tune  # noqa: E402

__all__ = ["Allotment", "Resources", "allot", "cluster", "ray", "tune"]


@dataclass(frozen=True)
class Resources:
    """What a Ray cluster has: processor cores of each machine, all GPUs, different hosts."""

    cpus: tuple[int, ...]
    gpus: int = 0
    hosts: int = 1


@dataclass(frozen=True)
class Allotment:
    """The number of trials at a time, and what each gets, as Ray counts it: "cpu" and "gpu"."""

    concurrency: int
    per_trial: dict[str, float]


@contextmanager
def cluster(address: str, packages: Sequence[str] = ("trackml",)) -> Iterator[Resources]:
    """A connection to a Ray cluster; "local" starts one that ends with the block.

    Args:
        packages: names of imported packages, or modules, that trials import. They are sent to
            another cluster, as its machines may have older ones installed.

    Raises:
        TrackmlError: the address does not respond, or this process is connected to Ray already.
    """
    if ray.is_initialized():
        raise TrackmlError("this process is connected to Ray already; call ray.shutdown() first")
    _check_address(address)
    files = [Path(str(sys.modules[name].__file__)) for name in packages]
    sent = [file.parent if file.name == "__init__.py" else file for file in files]
    options: dict[str, Any] = {"runtime_env": {"py_modules": [str(path) for path in sent]}}
    # Ray would leave the token of a local cluster in the home folder, and from then on lock its
    # owner out of clusters that were started without one.
    variables = {"RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE")}
    if address == "local":
        cores = processors()
        options = {
            "include_dashboard": False,
            "num_cpus": cores,
            "object_store_memory": _OBJECT_STORE_BYTES,
        }
        variables |= {} if _has_token() else {"RAY_AUTH_TOKEN": _own_token()}
        found_in = [*(str(path.parent) for path in sent), os.environ.get("PYTHONPATH")]
        if LIMIT in os.environ:  # if none is set, Ray gives each trial its share
            variables |= dict.fromkeys((LIMIT, "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"))
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, dict.fromkeys(found_in)))
    with ExitStack() as stack:
        if address == "local" and "RAY_TMPDIR" not in os.environ:
            # Ray opens the folder that it gets to all users: here, one that others cannot reach.
            options["_temp_dir"] = f"{stack.enter_context(_short_folder())}/ray"
        stack.enter_context(environment(**variables))
        # Ray's processes end with the thread that starts them.
        starter = stack.enter_context(ThreadPoolExecutor(1))
        try:
            # In the main thread Ray would take SIGTERM over. A request to stop waits until Ray has
            # started: in the middle of it Ray would crash, or hang.
            with deferred_signals():
                nodes = starter.submit(_connect, address, options).result()
            alive = [node for node in nodes if node["Alive"]]
            yield Resources(
                cpus=tuple(int(node["Resources"].get("CPU", 0)) for node in alive),
                gpus=int(sum(node["Resources"].get("GPU", 0) for node in alive)),
                hosts=len({node["NodeManagerAddress"] for node in alive}),
            )
        finally:
            ray.shutdown()


def _short_folder() -> "tempfile.TemporaryDirectory[str]":
    """A private folder for the files of one cluster on this machine.

    Ray's own, /tmp/ray or $TMPDIR/ray, is shared with other users, and sockets in it may have
    paths of 107 characters at most.
    """
    parent = "/tmp" if os.access("/tmp", os.W_OK | os.X_OK) else None  # noqa: S108  # a private one
    return tempfile.TemporaryDirectory(prefix="ray-", dir=parent, ignore_cleanup_errors=True)


def _connect(address: str, options: Mapping[str, Any]) -> list[Any]:
    """Connect this process to a cluster, and return its nodes."""
    try:
        # A closed terminal signals Ray's processes too: they must outlive the trials' runs.
        with block_end_signals():
            ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, **options)
    except (OSError, ValueError, RuntimeError) as error:
        hint = "; set RAY_TMPDIR to a short path" if "AF_UNIX" in str(error) else ""
        raise TrackmlError(f"--ray_address {address}: {one_line(error)}{hint}") from None
    nodes: list[Any] = ray.nodes()  # type: ignore[no-untyped-call]
    return nodes


def _check_address(address: str) -> None:
    """Ray itself would wait more than a minute for a cluster that does not respond."""
    if address in ("local", "auto") or os.environ.get("RAY_USE_TLS") == "1":
        return  # with TLS this would need the cluster's certificates
    with grpc.insecure_channel(address.removeprefix("ray://")) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=ANSWER_SECONDS)
        except grpc.FutureTimeoutError:
            raise TrackmlError(
                f"--ray_address {address}: no Ray cluster answers there; start one with "
                "`ray start --head`, or leave it at local"
            ) from None


def allot(
    resources: Resources, trials: int, concurrency: int | Literal["auto"], device: DeviceName
) -> Allotment:
    """How many trials run at a time, and what each of them gets.

    As many processor cores as there is room for, each trial on one machine; a fraction of one if
    there are more trials than cores. Trials share a GPU only if `concurrency` asks for it.

    Raises:
        UsageError: "cuda" was asked for, and the cluster has no GPU.
    """
    if device == "cuda" and not resources.gpus:
        raise UsageError("--device cuda: there is no GPU in the Ray cluster; use auto or cpu")
    gpus = 0 if device == "cpu" else resources.gpus
    cores = sum(resources.cpus)
    limit = (gpus or cores) if concurrency == "auto" else concurrency
    count = max(1, min(limit, trials))
    fitting = [  # whole cores per trial with which all trials find room
        each
        for each in range(1, cores + 1)
        if sum(machine // each for machine in resources.cpus) >= count
    ]
    per_trial = {"cpu": float(max(fitting)) if fitting else 1 / math.ceil(count / cores)}
    if gpus:
        per_trial["gpu"] = 1 / math.ceil(count / gpus)
    return Allotment(count, per_trial)
