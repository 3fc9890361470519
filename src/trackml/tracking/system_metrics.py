"""CPU, memory, disk, network and GPU while a run lasts, where MLflow's setting asks for them."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import NamedTuple

from mlflow.environment_variables import (
    MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING,
    MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL,
)
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

from trackml.tracking.outbox import now_ms

_SECONDS = 10.0  # between two samples; MLflow's own default

_log = logging.getLogger(__name__)


class Sample(NamedTuple):
    """A value of a system metric, and when it was taken, in milliseconds."""

    name: str
    value: float
    at: int


@contextmanager
def sampling(samples: list[Sample]) -> Iterator[None]:
    """Add samples to a list during the block, if MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING is true.

    MLflow's own monitor logs from its thread, and would wait for a server that is away: here the
    uploader logs them, with the rest of the run.
    """
    if not MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING.get():  # type: ignore[no-untyped-call]
        yield
        return
    stop = Event()
    thread = Thread(target=_sample, args=(samples, stop), name="system metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(1.0)


def _sample(samples: list[Sample], stop: Event) -> None:
    monitors = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]  # type: ignore[no-untyped-call]
    try:
        monitors.append(GPUMonitor())  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001  # its library, or the device, is not there
        _log.debug("no metrics of a GPU: %s", error)
    interval = MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL.get() or _SECONDS  # type: ignore[no-untyped-call]
    while True:
        for monitor in monitors:
            monitor.collect_metrics()  # type: ignore[no-untyped-call]
            values = monitor.aggregate_metrics()  # type: ignore[no-untyped-call]
            monitor.clear_metrics()  # type: ignore[no-untyped-call]
            samples += [Sample(f"system/{n}", float(v), now_ms()) for n, v in values.items()]
        if stop.wait(interval):
            return
