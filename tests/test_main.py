"""`python -m trackml`, with a cache of the tests' own."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from tests.conftest import start, user_environment


def test_data_fetches_and_shows_what_is_there_and_where_it_came_from(tmp_path: Path) -> None:
    result = start(
        "trackml", "data", "california_housing", folder=tmp_path, TRACKML_DATA_DIR=str(tmp_path)
    )
    assert result.returncode == 0, result.stderr
    row = next(line for line in result.stdout.splitlines() if "california_housing.f4" in line)
    assert "743,040" in row
    assert "verified" in row
    assert (tmp_path / "california_housing" / "california_housing.f4").stat().st_size == 743_040


@pytest.mark.parametrize(
    ("arguments", "folder", "missing"),
    [
        (["--list"], "data", 9),
        (["--list", "--debug", "mnist"], "data", 4),  # options may stand before the dataset
        (["--list"], "d[/old]", 9),  # which looks like markup
    ],
)
def test_list_fetches_nothing(
    arguments: list[str], folder: str, missing: int, tmp_path: Path
) -> None:
    place = {"TRACKML_DATA_DIR": str(tmp_path / folder)}
    result = start("trackml", "data", *arguments, folder=tmp_path, **place)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("missing") == missing
    assert folder in result.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["data", "cifar"], "error: there is no dataset 'cifar'; there are mnist, fashion_mnist"),
        (["date"], "error: COMMAND: invalid choice: 'date'"),
        ([], "error: the following arguments are required: COMMAND"),
        (["data", "--lsit"], "error: --lsit: there is no such flag"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], line: str, tmp_path: Path) -> None:
    result = start("trackml", *arguments, folder=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = start("trackml", "data", "cifar", "--debug", folder=tmp_path)
    assert "Traceback" in result.stderr
    assert "there is no dataset 'cifar'" in result.stderr


@pytest.mark.parametrize("columns", ["80", "130", ""])
def test_runs_cuts_no_id(columns: str, client: MlflowClient, tmp_path: Path) -> None:
    tags = {
        "trackml.task": "mnist",
        "trackml.architecture": "cnn-aug",
        "trackml.failure": "why " * 60,
    }
    ids = [client.create_run("0", tags=tags).info.run_id for _ in range(2)]
    for run_id in ids:
        client.set_terminated(run_id, "FAILED")
    said = start("trackml", "runs", folder=tmp_path, COLUMNS=columns)
    assert said.returncode == 0, said.stderr
    assert all(run_id in said.stdout for run_id in ids)
    assert said.stdout.count("why ") > 100
    assert "…" not in said.stdout


@pytest.fixture
def endless() -> Iterator[tuple[str, threading.Event]]:
    """The address of a mirror whose files never end, and whether one is being fetched."""
    begun, ended = threading.Event(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            begun.set()
            with suppress(OSError):  # who was asking is gone
                while not ended.wait(1):
                    self.wfile.write(b".")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", begun
        ended.set()
        server.shutdown()


def test_ctrl_c_does_not_wait_for_downloads(
    tmp_path: Path, endless: tuple[str, threading.Event]
) -> None:
    mirror, begun = endless
    process = subprocess.Popen(
        [sys.executable, "-m", "trackml", "data"],
        cwd=tmp_path,
        env=user_environment() | {"TRACKML_DATA_DIR": str(tmp_path), "TRACKML_DATA_MIRROR": mirror},
        stderr=subprocess.PIPE,
        text=True,
    )
    begun.wait()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors.endswith("error: interrupted\n")
