"""The store: which one, and a server that may be unreachable."""

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import mlflow
import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from requests.adapters import HTTPAdapter

from tests.conftest import start, user_environment
from tests.pipelines.servers import postgres_cluster
from tests.tracking.toy import Store, train, unavailable
from tests.waits import noting
from trackml.errors import TrackmlError, UsageError
from trackml.tracking import address, server

pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.mark.parametrize("options", ["", "?timeout=30"])
def test_a_relative_address_is_made_absolute_and_its_options_are_kept(
    empty_folder: Path, blank_database: Path, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    shutil.copy(blank_database, "own.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///own.db{options}")
    server.connect()
    assert mlflow.get_tracking_uri() == f"sqlite:///{empty_folder}/own.db{options}"
    assert f"=sqlite:///{empty_folder}/own.db{options} " in address.ui_line().replace("'", "")


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
    assert re.fullmatch("(python -m trackml|trackml|make) ui", address.ui_line())
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: "http://me:s3cret@host:5000")
    link = "http://host:5000/#/experiments/3?workflowType=machine_learning"
    assert address.ui_line("3") == link


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
        (MlflowException("BAD_REQUEST: QueuePool limit of size 5 overflow 10 reached"), True),
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


@pytest.mark.parametrize("deleted", ["RUN_ID", "EXPERIMENT_ID", "EXPERIMENT_NAME"])
def test_a_variable_that_names_what_was_deleted_is_refused(
    store: Store, deleted: str, empty_folder: Path
) -> None:
    experiment = store.client.create_experiment("mine")
    run_id = store.client.create_run(experiment).info.run_id
    values = {"RUN_ID": run_id, "EXPERIMENT_ID": experiment, "EXPERIMENT_NAME": "mine"}
    if deleted == "RUN_ID":
        store.client.delete_run(run_id)
    else:
        store.client.delete_experiment(experiment)
    store.monkeypatch.setenv(f"MLFLOW_{deleted}", values[deleted])
    with pytest.raises(UsageError, match=f"was deleted.*MLFLOW_{deleted}"), store.tracked():
        pass
    assert not Path(".trackml").exists()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"RUN_ID": "0" * 32}, "MLFLOW_RUN_ID=0+: there is no such run"),
        ({"RUN_ID": "no id; at all"}, "MLFLOW_RUN_ID=no id; at all: there is no such run"),
        ({"EXPERIMENT_ID": "77"}, "MLFLOW_EXPERIMENT_ID=77: there is no such experiment"),
        ({"EXPERIMENT_ID": "mnist"}, "MLFLOW_EXPERIMENT_ID=mnist: there is no such experiment"),
        (
            {"EXPERIMENT_ID": "0", "EXPERIMENT_NAME": "mine"},
            "MLFLOW_EXPERIMENT_ID=0 is the experiment 'Default', but MLFLOW_EXPERIMENT_NAME is",
        ),
    ],
)
def test_a_variable_that_names_nothing_is_refused(
    store: Store, variables: dict[str, str], words: str
) -> None:
    for name, value in variables.items():
        store.monkeypatch.setenv(f"MLFLOW_{name}", value)
    with pytest.raises(UsageError, match=words), store.tracked():
        pass
    assert not Path(".trackml").exists()
    assert store.client.search_runs(["0"]) == []


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED", "RUNNING"])
def test_a_run_that_has_ended_or_begun_takes_no_other_training(store: Store, status: str) -> None:
    run_id = store.made_by_mlflow()
    with store.tracked():
        pass
    store.client.update_run(run_id, status=status)
    words = f"MLFLOW_RUN_ID={run_id}: that run .*; unset"
    with pytest.raises(UsageError, match=words), store.tracked():
        pass
    assert store.status(run_id) == status


def test_a_run_of_mlflow_run_that_was_stopped_is_resumed_as_itself(store: Store) -> None:
    run_id = store.made_by_mlflow()
    assert store.failed(after=1) == run_id
    with store.tracked(resume=True) as run:
        train(run, 2)
    assert (run.run_id, store.status(run_id)) == (run_id, "FINISHED")
    assert [step for step, _ in store.rows(run_id)] == [1, 2]


def test_what_answers_must_be_mlflows_server(out_of_order: str) -> None:
    mlflow.set_tracking_uri(f"{out_of_order}/404")
    with pytest.raises(TrackmlError, match=r"is not MLflow's tracking server.*MLFLOW_TRACKING_URI"):
        server.connect()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("postgresql+psycopg://me:secret@127.0.0.1:9/x", "accepts no connection .*refused"),
        ("postgresql+psycopg2://me:secret@127.0.0.1:9/x", "the driver of postgresql.psycopg2 is"),
        ("mysql://me:secret@127.0.0.1:9/x", "the driver of mysql is not installed .*MySQLdb"),
    ],
)
def test_a_database_server_that_cannot_be_used_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, address: str, words: str
) -> None:
    pytest.importorskip("psycopg", reason="MLflow's driver of PostgreSQL is not installed here")
    monkeypatch.setattr(time, "sleep", forbidden)  # MLflow would try ten times
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(TrackmlError, match=words) as failure:
        server.connect()
    assert "MLFLOW_TRACKING_URI" in str(failure.value)
    assert "secret" not in str(failure.value)


def forbidden(*_: object) -> None:
    raise AssertionError


@pytest.mark.services
@pytest.mark.parametrize("trouble", ["frozen", "stopped", "wrong password", "no such database"])
def test_postgresql_that_is_down_is_told_within_seconds(tmp_path: Path, trouble: str) -> None:
    with postgres_cluster(tmp_path) as administrator:
        port = administrator["PGPORT"]
        shell = user_environment() | administrator
        role = "CREATE ROLE me LOGIN PASSWORD 's3cret'"
        for command in (["psql", "-c", role], ["createdb", "--owner", "me", "mlflow"]):
            subprocess.run(command, env=shell, check=True)
        password = "wr0ng" if trouble == "wrong password" else "s3cret"
        name = "other" if trouble == "no such database" else "mlflow"
        address = f"postgresql+psycopg://me:{password}@127.0.0.1:{port}/{name}"
        pid = int(Path(administrator["PGHOST"], "postmaster.pid").read_text().split()[0])
        stop = {"frozen": signal.SIGSTOP, "stopped": signal.SIGKILL}.get(trouble)
        if stop:
            os.kill(pid, stop)
        try:
            said = start("trackml", "runs", folder=tmp_path, MLFLOW_TRACKING_URI=address)
        finally:
            if trouble == "frozen":
                os.kill(pid, signal.SIGCONT)
        assert said.returncode == 1
        assert said.stderr.count("\n") == 1
        # The words of the one attempt that comes before MLflow's, which would take 102 s.
        assert f"the database postgresql+psycopg://127.0.0.1:{port}/{name} accepts" in said.stderr
        assert password not in said.stderr
