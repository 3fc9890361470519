"""A database in a file: how it is made, which are refused, what SQLite knows of its size."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.store.db import utils as mlflow_db
from mlflow.tracking import MlflowClient

from tests.conftest import ROOT, start, user_environment
from trackml.errors import TrackmlError
from trackml.tracking import server
from trackml.tracking.database import update_statistics

MLFLOW_1_0 = "451aebb31d03"
DATABASE = Path("mlflow.db")

pytestmark = pytest.mark.usefixtures("empty_folder")


def execute(statement: str) -> None:
    connection = sqlite3.connect("mlflow.db")
    with connection:
        connection.execute(statement)
    connection.close()


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
    program = str(ROOT / "tests/pipelines/own.py")
    for point in ("before:migration", "after:migration", "after:schema"):
        said = start("tests.failpoints", point, "trackml", "run", program, folder=Path())
        assert said.returncode == -signal.SIGKILL, said.stderr
        assert not Path("mlflow.db").exists()
    assert server.connect().get_experiment("0").name == "Default"


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


def with_runs(client: MlflowClient, count: int) -> None:
    for _ in range(count):
        client.create_run("0")


def statistics() -> list[str]:
    with closing(sqlite3.connect(DATABASE)) as database:
        try:
            rows = database.execute("SELECT stat FROM sqlite_stat1 WHERE tbl = 'runs'").fetchall()
        except sqlite3.OperationalError:
            return []
    return [row[0] for row in rows]


def test_statistics_are_taken_when_the_runs_have_doubled(client: MlflowClient) -> None:
    with_runs(client, 99)
    server.connect(create=False)
    assert statistics() == []
    with_runs(client, 1)
    server.connect(create=False)
    taken, content = statistics(), DATABASE.read_bytes()
    assert taken[0].startswith("100 ")
    server.connect(create=False)
    assert DATABASE.read_bytes() == content  # who only reads writes nothing, but then
    with_runs(client, 100)
    server.connect(create=False)
    assert statistics()[0].startswith("200 ")


def test_a_database_that_is_in_use_is_not_waited_for(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_runs(client, 100)
    connect, seconds = sqlite3.connect, []

    def noting(*args: Any, **options: Any) -> Any:
        seconds.append(options["timeout"])
        return connect(*args, **options)

    with closing(connect(DATABASE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with monkeypatch.context() as patched:
            patched.setattr(sqlite3, "connect", noting)
            update_statistics(DATABASE.absolute())
    assert seconds == [0]
    assert statistics() == []


def test_a_damaged_page_that_only_statistics_need_stops_nobody(client: MlflowClient) -> None:
    with_runs(client, 100)
    with closing(sqlite3.connect(DATABASE)) as database:
        (page,) = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'index_params_run_uuid'"
        ).fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    with DATABASE.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    assert server.connect(create=False).get_experiment("0")
    assert statistics() == []


def test_what_a_kill_left_half_written_is_taken_back(client: MlflowClient) -> None:
    with_runs(client, 100)
    with closing(sqlite3.connect(DATABASE, isolation_level=None)) as database:
        database.execute("PRAGMA cache_size = 1")  # so that pages are written before the end
        database.execute("BEGIN")
        database.execute("UPDATE tags SET value = 'half'")
        database.execute("UPDATE runs SET name = 'half'")
        Path("killed").mkdir()
        for file in (DATABASE, Path("mlflow.db-journal")):
            shutil.copy(file, Path("killed", file.name))
        database.execute("ROLLBACK")
    os.chdir("killed")
    mlflow.set_tracking_uri(f"sqlite:///{DATABASE.absolute()}")
    names = {run.info.run_name for run in server.connect(create=False).search_runs(["0"])}
    assert len(names) > 1
    assert "half" not in names
