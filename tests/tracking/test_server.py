"""The store: a database made once by whoever comes first, or a server that may be unreachable."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import mlflow
import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.store.db import utils as mlflow_db
from mlflow.tracking import MlflowClient
from requests.adapters import HTTPAdapter

from tests.conftest import start, user_environment
from tests.tracking.toy import unavailable
from tests.waits import noting
from trackml import console
from trackml.errors import TrackmlError, UsageError
from trackml.tracking import server

pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.mark.parametrize("is_empty_file", [False, True])
def test_a_missing_database_is_made_with_its_artifacts_beside_it(
    empty_folder: Path, is_empty_file: bool
) -> None:
    if is_empty_file:
        Path("mlflow.db").touch()
    client = server.connect()
    assert mlflow.get_tracking_uri() == f"sqlite:///{empty_folder}/mlflow.db"
    assert Path("mlflow.db").is_file()
    default = client.get_experiment("0")
    assert default.artifact_location.startswith((empty_folder / "mlruns").as_uri())
    assert {path.name for path in empty_folder.iterdir()} == {"mlflow.db", ".mlflow.db.lock"}


def test_processes_that_start_at_once_make_one_good_database() -> None:
    code = (
        "from trackml.tracking import server; print(server.experiment_id(server.connect(), 'race'))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=user_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    answers = {process.communicate()[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0] * 4
    assert len(answers) == 1


def test_a_kill_while_the_schema_is_made_leaves_nothing_broken() -> None:
    for point in ("before:migration", "after:migration", "after:schema"):
        said = start("tests.failpoints", point, "trackml", "runs", folder=Path())
        assert said.returncode == -signal.SIGKILL, said.stderr
        assert not Path("mlflow.db").exists()
    assert server.connect().get_experiment("0").name == "Default"


@pytest.mark.parametrize("options", ["", "?timeout=30"])
def test_a_relative_address_is_made_absolute_and_its_options_are_kept(
    empty_folder: Path, blank_database: Path, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    shutil.copy(blank_database, "own.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///own.db{options}")
    server.connect()
    assert mlflow.get_tracking_uri() == f"sqlite:///{empty_folder}/own.db{options}"
    command = f"mlflow ui --backend-store-uri sqlite:///{empty_folder}/own.db"
    assert console.ui_command().replace("'", "") == command + options


@pytest.mark.parametrize("name", ["so ein Ärger 100%", "a%2Fb%41", "what?", "a#b;c'd"])
def test_a_folder_with_any_name_works(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = empty_folder / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    client = server.connect()
    run = client.create_run(server.experiment_id(client, "x"))
    client.log_text(run.info.run_id, "here", "note.txt")
    assert [path.read_text() for path in folder.rglob("note.txt")] == ["here"]
    assert (folder / "mlflow.db").stat().st_size > 0
    assert not list(empty_folder.glob("*.db"))


def test_a_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: "postgresql://me:s3cret@db/x")
    assert "s3cret" not in console.ui_command()


@pytest.mark.parametrize("name", ["fashion_mnist", "/Users/me/exp", "../../up", "a b"])
def test_an_experiment_keeps_its_artifacts_beside_the_database_and_may_be_deleted(
    client: MlflowClient, empty_folder: Path, name: str
) -> None:
    first = server.experiment_id(client, name)
    assert server.experiment_id(client, name) == first
    location = Path(client.get_experiment(first).artifact_location.removeprefix("file://"))
    assert location.parent == empty_folder / "mlruns"
    assert (location.name == name) is (name == "fashion_mnist")
    client.delete_experiment(first)
    with pytest.raises(TrackmlError, match=f"experiments restore -x {first}"):
        server.experiment_id(client, name)


def test_a_relative_address_that_lost_its_folder_under_mlflow_run_is_refused(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///own.db")
    with pytest.raises(TrackmlError, match="needs an absolute path"):
        server.connect()
    assert not any(empty_folder.iterdir())


def execute(statement: str) -> None:
    connection = sqlite3.connect("mlflow.db")
    with connection:
        connection.execute(statement)
    connection.close()


def test_a_database_of_a_newer_mlflow_is_used_as_it_is(
    blank_database: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mlflow_db, "_verify_schema", mlflow_db._verify_schema)  # put back after
    shutil.copy(blank_database, "mlflow.db")
    execute("UPDATE alembic_version SET version_num = 'from_the_future'")
    client = server.connect()
    run = client.create_run(server.experiment_id(client, "mnist"))
    client.log_metric(run.info.run_id, "val_loss", 0.5)
    assert client.get_run(run.info.run_id).data.metrics == {"val_loss": 0.5}
    assert "made by a newer MLflow" in caplog.text


MLFLOW_1_0 = "451aebb31d03"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not a database at all" * 100, "is not an intact MLflow database"),
        (b"SQLite format 3\0" * 9, "is not an intact MLflow database"),
        ("DELETE FROM alembic_version", "schema that is not complete"),
        (
            f"UPDATE alembic_version SET version_num = '{MLFLOW_1_0}'",
            r"older MLflow.*mlflow db upgrade sqlite:///",
        ),
    ],
)
def test_a_file_that_is_no_database_or_an_old_one_is_refused_and_left_alone(
    blank_database: Path, content: bytes | str, words: str
) -> None:
    if isinstance(content, bytes):
        Path("mlflow.db").write_bytes(content)
    else:
        shutil.copy(blank_database, "mlflow.db")
        execute(content)
    before = Path("mlflow.db").read_bytes()
    with pytest.raises(TrackmlError, match=words):
        server.connect()
    assert Path("mlflow.db").read_bytes() == before


def test_a_server_that_does_not_respond_is_asked_once_and_named_without_its_password(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    waits: list[float] = []
    monkeypatch.setattr(HTTPAdapter, "send", noting(waits.append))
    with pytest.raises(TrackmlError, match=r"at http://127\.0\.0\.1:9 ") as failure:
        server.connect()
    assert "secret" not in str(failure.value)
    assert waits == [server.RESPONSE_SECONDS]
    assert not any(empty_folder.iterdir())


def test_a_database_in_a_file_is_refused_where_runs_come_from_several_machines() -> None:
    server.check_shared(hosts=1)
    with pytest.raises(UsageError, match="the 2 machines of the Ray cluster cannot share"):
        server.check_shared(hosts=2)
    mlflow.set_tracking_uri("http://tracking.example:5000")
    server.check_shared(hosts=2)


@pytest.mark.parametrize(("before", "within"), [(None, "5"), ("60", "5"), ("300", "300")])
def test_a_time_out_that_a_user_has_set_takes_precedence(
    monkeypatch: pytest.MonkeyPatch, before: str | None, within: str
) -> None:
    name = "MLFLOW_HTTP_REQUEST_TIMEOUT"
    monkeypatch.delenv(name, raising=False)
    if before:
        monkeypatch.setenv(name, before)
    with server.request_timeout(5):
        assert os.environ[name] == within
    with server.request_timeout(None):
        assert os.environ.get(name) == before


@pytest.fixture
def out_of_order() -> Iterator[str]:
    """The address of a server that answers with a status, and nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(self.path[1:4]))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as own:
        threading.Thread(target=own.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{own.server_port}"
        own.shutdown()


@pytest.mark.parametrize(
    ("status", "is_unreachable"), [(500, True), (429, True), (520, True), (404, False)]
)
def test_a_server_that_is_out_of_order_is_unreachable(
    out_of_order: str, status: int, is_unreachable: bool
) -> None:
    mlflow.set_tracking_uri(f"{out_of_order}/{status}")
    client = MlflowClient()
    with server.request_timeout(5), pytest.raises(MlflowException) as caught:
        client.get_run("a")
    assert server.is_unreachable(caught.value) == is_unreachable
    assert server.responds() != is_unreachable


@pytest.mark.parametrize(
    ("error", "is_unreachable"),
    [
        (ValueError("nan"), False),
        (MlflowException("wrong"), False),
        (unavailable(), True),
        (requests.ConnectionError(), True),
    ],
)
def test_a_wrong_request_does_not_mean_that_the_store_is_unreachable(
    error: Exception, is_unreachable: bool
) -> None:
    outer = ValueError("outer")
    outer.__cause__ = error
    for each in (error, outer):
        assert server.is_unreachable(each) == is_unreachable


@pytest.mark.parametrize("typed", ["http://Me:secret@Host:5000/", "http://host:5000"])
def test_a_server_has_one_address_however_it_is_typed(typed: str) -> None:
    mlflow.set_tracking_uri(typed)
    assert server.shown_address() == "http://host:5000"
