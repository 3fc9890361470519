"""The command `trackml ui`."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from tempfile import TemporaryFile
from time import sleep

import requests

from trackml.errors import TrackmlError
from trackml.tracking import server
from trackml.tracking.address import is_server, store_uri, without_password

HOST, PORT = "127.0.0.1", 5000
_SETTINGS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # a dozen processes that nobody needs
_END_SECONDS = 10.0


def serve_ui(port: int | None = None) -> None:
    """Serve the UI of the configured store, else of ./mlflow.db, and print its address.

    It ends with a request to stop. Of a tracking server, only the address is printed.

    Args:
        port: by default 5000, or the next one that is free.

    Raises:
        TrackmlError: there is no store, the port is taken, or MLflow's server does not start.
    """
    uri = store_uri()
    if is_server(uri):
        print(f"open {without_password(uri)}")
        return
    server.connect(create=False)
    if port and not _is_free(port):
        raise TrackmlError(f"--port {port}: another program has it; leave it out to get a free one")
    chosen = port or next(filter(_is_free, count(PORT)))
    address = f"http://{HOST}:{chosen}"
    with _mlflow_server(uri, chosen) as process:
        while process.poll() is None and not _responds(address):
            sleep(0.2)
        if process.poll() is None:
            print(f"open {address} (Ctrl-C ends it)", flush=True)
        process.wait()


@contextmanager
def _mlflow_server(uri: str, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """MLflow's server, in a group of its own, so that it ends as a whole and by us alone."""
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    stores = {"MLFLOW_BACKEND_STORE_URI": uri}  # here, as others see the words of a command
    if registry := os.environ.get("MLFLOW_REGISTRY_URI"):
        stores["MLFLOW_REGISTRY_STORE_URI"] = registry
    with TemporaryFile() as log:
        process = subprocess.Popen(
            [*command, "--host", HOST, "--port", str(port)],
            env=_SETTINGS | os.environ | stores,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        log.seek(0)
        last = log.read().decode(errors="replace").split("\n")[-4:]
        raise TrackmlError(f"MLflow's server has ended: {' '.join(last).strip()}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _responds(address: str) -> bool:
    try:
        return requests.get(f"{address}/health", timeout=1).ok
    except requests.RequestException:
        return False
