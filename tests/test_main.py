"""`trackml` and `python -m trackml`, with a cache of the tests' own."""

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

import trackml
from tests.conftest import ROOT, runs, start, user_environment
from tests.pipelines.servers import free_port, is_up
from trackml.__main__ import _parse
from trackml.errors import TrackmlError, UsageError


def test_data_fetches_and_shows_what_is_there_and_where_it_came_from(tmp_path: Path) -> None:
    result = start(
        "trackml", "data", "california_housing", folder=tmp_path, TRACKML_DATA_DIR=str(tmp_path)
    )
    assert result.returncode == 0, result.stderr
    for words in ("california_housing.f4", "743,040", "verified"):
        assert words in result.stdout
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


def asked(*words: str) -> None:
    """Run a command in this process, whose errors it raises."""
    given = _parse(list(words))
    given.run_command(given)


OWN = str(ROOT / "tests/pipelines/own.py")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "fashoin"], "fashoin: there is no such entry point; did you mean fashion?"),
        (["run", "fashion", "epohcs=5"], "--epohcs: there is no such flag; did you mean --epochs?"),
        (["run", "fashion", "--epochs", "0"], "--epochs 0: expected an integer >= 1"),
        (["run", OWN, "epochs=x"], "--epochs x: expected an integer >= 1"),
        (["run", "fashion", "--augment", "epochs=0"], "--epochs 0: expected an integer >= 1"),
        # A pair that is the value of a flag before it.
        (
            ["run", "sweep", "--space", "batch_size=0"],
            "--space, --batch_size 0: expected an integer",
        ),
        (["run", "sweep", "pipeline=no.py"], "no.py: there is no such file"),
        (["run", "fashion", "stray"], "stray: not expected here; parameters are given as --name"),
        (["compare", "mnist", "min_runs=0"], "--min_runs 0: expected an integer >= 1"),
        (["compare", "a/b"], "--task a/b: expected the name of a task"),
        (["predict", "mnist"], "the following arguments are required: FILE"),
        (["predict", "mnist", "x.png", "--output", "no/x.csv"], "--output no/x.csv: there is no f"),
        (["predict", "mnist", "x.png", "--output", "/tmp"], "--output /tmp: that is a folder; exp"),
    ],
)
def test_a_command_names_what_is_wrong(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        asked(*words)
    assert message in str(refusal.value)


def test_run_shows_what_there_is_and_the_parameters_that_an_entry_point_sets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked("run")
    shown = capsys.readouterr().out
    assert "│ fashion_aug   │ Train a small CNN" in shown
    assert shown.count("With augment=true.") == 1
    with pytest.raises(SystemExit):
        asked("run", "fashion_aug", "--help")
    words = " ".join(capsys.readouterr().out.split())
    assert re.match(r"usage: \S+( -m trackml)? run fashion_aug \[-h\]", words)
    assert "at random, anew in each epoch [true or false] (default: true)" in words


def test_run_takes_pairs_and_flags(client: MlflowClient, tmp_path: Path) -> None:
    asked("run", OWN, "epochs=3", "--seed", "5")
    (run,) = runs(tmp_path)
    assert run.data.params["epochs"] == "3"
    assert run.data.params["seed"] == "5"


@contextmanager
def ui(folder: Path, *words: str) -> "Iterator[subprocess.Popen[str]]":
    command = [sys.executable, "-m", "trackml", "ui", *words]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, env=user_environment(), **pipes) as process:
        try:
            yield process
        finally:
            process.terminate()


@pytest.mark.slow
def test_ui_shows_the_store_until_ctrl_c(store_folder: Path) -> None:
    port = str(free_port())
    with ui(store_folder, "--port", port) as process:
        line = process.stdout.readline() if process.stdout else ""
        page = f"http://127.0.0.1:{port}/#/experiments?workflowType=machine_learning"
        assert line == f"open {page} (Ctrl-C ends it)\n"
        assert is_up(f"http://127.0.0.1:{port}/health")
        with ui(store_folder, "--port", port) as second:
            _, errors = second.communicate()
        assert (second.returncode, errors.split()[:3]) == (1, ["error:", "--port", f"{port}:"])
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (130, "error: interrupted\n")
    assert not is_up(f"http://127.0.0.1:{port}/health")


@pytest.mark.parametrize("command", ["ui", "predict mnist x.png", "compare mnist", "runs"])
def test_who_reads_a_store_creates_none(command: str, empty_folder: Path) -> None:
    with pytest.raises(TrackmlError, match=f"there is no {empty_folder}/mlflow.db; run a pipeline"):
        asked(*command.split())
    with pytest.raises(TrackmlError, match="there is no"):
        trackml.leaderboard("mnist")
    assert list(empty_folder.iterdir()) == []


def test_who_reads_a_store_is_not_advised_to_defer(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(TrackmlError, match="no tracking server answers") as failure:
        trackml.load("mnist")
    assert "deferred" not in str(failure.value)
    assert list(empty_folder.iterdir()) == []


def test_ui_of_a_server_is_its_own(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@host:5000")
    asked("ui")
    page = "http://host:5000/#/experiments?workflowType=machine_learning"
    assert capsys.readouterr().out == f"open {page}\n"
