"""A served model against the same one called in process: requests a second, and how long each took.

python -m benchmarks.serving --requests 400
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import mlflow
import numpy as np
import requests
from rich.console import Console
from rich.table import Table

from benchmarks.side_by_side import ROOT, machine
from tests.pipelines.servers import served
from trackml.data import load

# PyTorch's before Keras's, as both are called in this process: see decision 7.
PIPELINES: Mapping[str, tuple[str, ...]] = {
    "cnn": ("cnn", "--epochs", "1", "--limit", "3000"),
    "dense": ("dense_mnist", "--epochs", "1", "--limit", "3000"),
    "scratch-mlp": ("scratch_mnist", "--epochs", "1", "--limit", "3000", "--model", "mlp"),
}


def main(requests_each: int, at_once: int, workers: list[int]) -> None:
    """Each framework, with one image and with 100 a request, by so many processes."""
    columns = ("model", "workers", "images", "way", "requests/s", "p50", "p99")
    table = Table(*columns, title="mnist, served")
    with TemporaryDirectory() as name:
        folder = Path(name)
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
        for alias, (pipeline, *flags) in PIPELINES.items():
            train = [sys.executable, "-m", f"pipelines.{pipeline}", *flags]
            subprocess.run(train, cwd=folder, env=environment, check=True, capture_output=True)
            model = mlflow.pyfunc.load_model(f"models:/mnist@{alias}")
            for count in (1, 100):
                call = partial(model.predict, load("mnist").test.images[:count])
                table.add_row(alias, "", str(count), "in process", *_measured(call, requests_each))
            for number in workers:
                for row in _served(folder, alias, number, requests_each, at_once):
                    table.add_row(alias, str(number), *row)
    console = Console(highlight=False, width=110)
    console.print(table)
    console.print(f"{requests_each} requests each; {machine()}")


def _served(
    folder: Path, alias: str, workers: int, requests_each: int, at_once: int
) -> Iterator[list[str]]:
    """Images a request, way, and what is measured."""
    with served(folder, "mnist", alias, workers) as address, requests.Session() as session:
        for count in (1, 100):
            body = json.dumps({"inputs": load("mnist").test.images[:count].tolist()})
            ask = partial(_ask, session, address, body)
            for way, threads in (("one by one", 1), (f"{at_once} at once", at_once)):
                yield [str(count), way, *_measured(ask, requests_each, threads)]


def _measured(call: Callable[[], object], count: int, threads: int = 1) -> list[str]:
    """Requests a second; median and 99th percentile of their milliseconds."""

    def timed(_: int) -> float:
        begun = perf_counter()
        call()
        return perf_counter() - begun

    with redirect_stdout(StringIO()), ThreadPoolExecutor(threads) as pool:  # Keras draws bars
        for _ in range(5):  # to warm up
            call()
        started = perf_counter()
        seconds = list(pool.map(timed, range(count)))
        total = perf_counter() - started
    p50, p99 = np.percentile(seconds, [50, 99]) * 1000
    return [f"{count / total:.0f}", f"{p50:.1f} ms", f"{p99:.1f} ms"]


def _ask(session: requests.Session, address: str, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = session.post(f"{address}/invocations", data=body, headers=headers, timeout=60)
    answer.raise_for_status()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--workers", type=int, nargs="+", default=[1], help="of the server, each")
    given = parser.parse_args()
    main(given.requests, given.at_once, given.workers)
