"""A served model against the same one called in process: requests a second, and how long each took.

python -m benchmarks.serving --requests 400
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep

import mlflow
import numpy as np
import requests
from rich.console import Console
from rich.table import Table

from benchmarks.side_by_side import ROOT, machine
from trackml.data import load

PORT = 5390
PIPELINES: Mapping[str, tuple[str, ...]] = {
    "dense": ("dense_mnist", "--epochs", "1", "--limit", "3000"),
    "cnn": ("cnn", "--epochs", "1", "--limit", "3000"),
    "scratch-mlp": ("scratch_mnist", "--epochs", "1", "--limit", "3000", "--model", "mlp"),
}


def main(requests_each: int, at_once: int) -> None:
    """Each framework, with one image and with 100 a request."""
    table = Table("model", "images", "way", "requests/s", "p50", "p99", title="mnist, served")
    with TemporaryDirectory() as name:
        folder = Path(name)
        store = f"sqlite:///{folder}/mlflow.db"
        mlflow.set_tracking_uri(store)
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
        for alias, (pipeline, *flags) in PIPELINES.items():
            train = [sys.executable, "-m", f"pipelines.{pipeline}", *flags]
            subprocess.run(train, cwd=folder, env=environment, check=True, capture_output=True)
            model = mlflow.pyfunc.load_model(f"models:/mnist@{alias}")
            with _Served(alias, store, folder / "log.txt") as address:
                for count in (1, 100):
                    images = load("mnist").test.images[:count]
                    body = {"inputs": images.tolist()}
                    asked = partial(_ask, address, body)
                    ways: dict[str, tuple[Callable[[], object], int]] = {
                        "in process": (partial(model.predict, images), 1),
                        "served, one by one": (asked, 1),
                        f"served, {at_once} at once": (asked, at_once),
                    }
                    for way, (call, threads) in ways.items():
                        row = _measured(call, requests_each, threads)
                        table.add_row(alias, str(count), way, *row)
    console = Console(highlight=False, width=110)
    console.print(table)
    console.print(f"{requests_each} requests each; {machine()}")


def _measured(call: Callable[[], object], count: int, threads: int) -> list[str]:
    """Requests a second; median and 99th percentile of their milliseconds."""

    def timed(_: int) -> float:
        started = perf_counter()
        call()
        return perf_counter() - started

    for _ in range(5):  # to warm up
        call()
    started = perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        seconds = list(pool.map(timed, range(count)))
    total = perf_counter() - started
    p50, p99 = np.percentile(seconds, [50, 99]) * 1000
    return [f"{count / total:.0f}", f"{p50:.1f} ms", f"{p99:.1f} ms"]


def _ask(address: str, body: object) -> None:
    requests.post(f"{address}/invocations", json=body, timeout=60).raise_for_status()


class _Served:
    """A model behind MLflow's server, for as long as the block takes."""

    def __init__(self, alias: str, store: str, log: Path) -> None:
        self._alias, self._store, self._log = alias, store, log

    def __enter__(self) -> str:
        model = ["-m", f"models:/mnist@{self._alias}", "--env-manager", "local"]
        with self._log.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "models", "serve", *model, "--port", str(PORT)],
                env=os.environ | {"MLFLOW_TRACKING_URI": self._store},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        address = f"http://127.0.0.1:{PORT}"
        while True:
            with suppress(requests.RequestException):
                if requests.get(f"{address}/ping", timeout=2).ok:
                    return address
            if self._process.poll() is not None:
                raise SystemExit(self._log.read_text())
            sleep(0.2)

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--at-once", type=int, default=4)
    given = parser.parse_args()
    main(given.requests, given.at_once)
