"""The command `trackml ui`; `make ui` runs this module, as it needs nothing but MLflow."""

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
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from trackml.errors import TrackmlError
from trackml.tracking.address import (
    check_exists,
    database_path,
    is_server,
    store_uri,
    without_password,
)
from trackml.ui.links import ui_link

HOST, PORT = "127.0.0.1", 5000
_SETTINGS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # ten processes that nobody needs
_END_SECONDS = 10.0


def serve_ui(port: int | None = None) -> None:
    """Check the configured store, else ./mlflow.db, as all commands do, and serve its UI.

    Args:
        port: by default 5000, or the next one that is free.

    Raises:
        TrackmlError: there is no store, its folder was moved, the port is taken, or MLflow's server
            does not start.
    """
    from trackml.tracking import server  # which needs other packages than MLflow

    if not is_server(store_uri()):
        server.connect(create=False)
    show_ui(port)


def show_ui(port: int | None = None) -> None:
    """Serve the UI of the configured store, else of ./mlflow.db, and print a link to its runs.

    It ends with a request to stop. Of a tracking server, only the link is printed.
    """
    uri = store_uri()
    if is_server(uri):
        print(f"open {ui_link(without_password(uri))}")
        return
    if path := database_path(uri):
        check_exists(path)
    if port and not _is_free(port):
        raise TrackmlError(f"--port {port}: another program has it; leave it out to get a free one")
    chosen = port or next(filter(_is_free, count(PORT)))
    address = f"http://{HOST}:{chosen}"
    with _mlflow_server(uri, chosen) as process:
        while process.poll() is None and not _responds(address):
            sleep(0.2)
        if process.poll() is None:
            page = ui_link(address, experiment=_newest_experiment(address))
            print(f"open {page} (Ctrl-C ends it)", flush=True)
        process.wait()


def _newest_experiment(address: str) -> str:
    """The id of the experiment with the newest run; empty if there is no run."""
    client = MlflowClient(address)
    with suppress(MlflowException):  # the link is a convenience
        experiments = [each.experiment_id for each in client.search_experiments()]
        newest = client.search_runs(
            experiments, order_by=["attributes.start_time DESC"], max_results=1
        )
        return "".join(run.info.experiment_id for run in newest)
    return ""


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


def main() -> None:
    """What `make ui` starts, in any environment that has MLflow; MLFLOW_PORT chooses the port."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        show_ui(int(os.environ.get("MLFLOW_PORT", "0")) or None)
    except TrackmlError as error:
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
