"""The database: made once, by whoever comes first, and never half."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow.store.db import utils as mlflow_db
from mlflow.tracking import MlflowClient
from requests.adapters import HTTPAdapter

from tests.conftest import start, user_environment
from tests.waits import noting
from trackml.errors import TrackmlError, UsageError
from trackml.tracking import reach, store


def test_a_missing_database_is_made_with_its_artifacts_beside_it(empty_folder: Path) -> None:
    client = store.connect()
    assert mlflow.get_tracking_uri() == f"sqlite:///{empty_folder}/mlflow.db"
    assert (empty_folder / "mlflow.db").is_file()
    default = client.get_experiment("0")
    assert default.artifact_location.startswith((empty_folder / "mlruns").as_uri())
    left = {path.name for path in empty_folder.iterdir()}
    assert left == {"mlflow.db", ".mlflow.db.lock"}


def test_processes_that_start_at_once_make_one_good_database(empty_folder: Path) -> None:
    code = (
        "from trackml.tracking import store; client = store.connect(); "
        "print(store.experiment_id(client, 'race'))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=empty_folder,
            env=user_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    answers = {process.communicate()[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0] * 4
    assert len(answers) == 1


def test_a_kill_while_the_schema_is_made_leaves_nothing_broken(empty_folder: Path) -> None:
    for point in ("before:migration", "after:migration", "after:schema"):
        said = start("tests.failpoints", point, "trackml", "runs", folder=empty_folder)
        assert said.returncode == -signal.SIGKILL, said.stderr
        assert not (empty_folder / "mlflow.db").exists()
    assert store.connect().get_experiment("0").name == "Default"


def test_a_relative_address_is_made_absolute(
    empty_folder: Path, blank_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(blank_database, empty_folder / "own.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///own.db")
    store.connect()
    assert mlflow.get_tracking_uri() == f"sqlite:///{empty_folder}/own.db"
    assert store.ui_command() == f"mlflow ui --backend-store-uri sqlite:///{empty_folder}/own.db"


@pytest.mark.parametrize("name", ["so ein Ärger 100%", "a%2Fb%41", "what?", "a#b;c'd"])
def test_a_folder_with_any_name_works(
    tmp_path: Path, empty_folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    client = store.connect()
    run = client.create_run(store.experiment_id(client, "x"))
    client.log_text(run.info.run_id, "here", "note.txt")
    assert [path.read_text() for path in folder.rglob("note.txt")] == ["here"]
    assert (folder / "mlflow.db").stat().st_size > 0
    assert not list(tmp_path.glob("*.db"))


def test_the_options_of_an_address_are_kept(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///own.db?timeout=30")
    store.connect()
    assert mlflow.get_tracking_uri() == f"sqlite:///{empty_folder}/own.db?timeout=30"
    assert (empty_folder / "own.db").stat().st_size > 0


def test_a_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: "postgresql://me:s3cret@db/x")
    assert "s3cret" not in store.ui_command()


def test_a_schema_without_a_revision_is_not_taken_for_a_newer_one(
    empty_folder: Path, blank_database: Path
) -> None:
    shutil.copy(blank_database, empty_folder / "mlflow.db")
    connection = sqlite3.connect(empty_folder / "mlflow.db")
    with connection:
        connection.execute("DELETE FROM alembic_version")
    connection.close()
    with pytest.raises(TrackmlError, match="schema that is not complete"):
        store.connect()


def test_experiments_keep_their_artifacts_beside_the_database(client: MlflowClient) -> None:
    first = store.experiment_id(client, "fashion_mnist")
    assert store.experiment_id(client, "fashion_mnist") == first
    location = client.get_experiment(first).artifact_location
    assert location == Path("mlruns/fashion_mnist").absolute().as_uri()


@pytest.mark.parametrize("name", ["/Users/me/exp", "../../up", "a b"])
def test_an_experiment_that_is_named_like_a_path_stays_beside_the_database(
    client: MlflowClient, empty_folder: Path, name: str
) -> None:
    location = client.get_experiment(store.experiment_id(client, name)).artifact_location
    assert Path(location.removeprefix("file://")).parent == empty_folder / "mlruns"


def test_a_relative_address_that_lost_its_folder_under_mlflow_run_is_refused(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///own.db")
    with pytest.raises(TrackmlError, match="needs an absolute path"):
        store.connect()
    assert not any(empty_folder.iterdir())


def test_a_deleted_experiment_is_explained(client: MlflowClient) -> None:
    number = store.experiment_id(client, "mnist")
    client.delete_experiment(number)
    with pytest.raises(TrackmlError, match=f"experiments restore -x {number}"):
        store.experiment_id(client, "mnist")


def set_revision(database: Path, revision: str) -> None:
    connection = sqlite3.connect(database)
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    connection.close()


def test_a_database_of_a_newer_mlflow_is_used_as_it_is(
    empty_folder: Path,
    blank_database: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(mlflow_db, "_verify_schema", mlflow_db._verify_schema)  # put back after
    shutil.copy(blank_database, empty_folder / "mlflow.db")
    set_revision(empty_folder / "mlflow.db", "from_the_future")
    client = store.connect()
    run = client.create_run(store.experiment_id(client, "mnist"))
    client.log_metric(run.info.run_id, "val_loss", 0.5)
    assert client.get_run(run.info.run_id).data.metrics == {"val_loss": 0.5}
    assert "made by a newer MLflow" in caplog.text


def test_a_database_of_an_older_mlflow_is_refused_with_the_remedy(
    empty_folder: Path, blank_database: Path
) -> None:
    shutil.copy(blank_database, empty_folder / "mlflow.db")
    set_revision(empty_folder / "mlflow.db", "451aebb31d03")  # MLflow 1.0
    with pytest.raises(TrackmlError, match=r"older MLflow.*mlflow db upgrade sqlite:///"):
        store.connect()


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" * 9])
def test_what_is_no_database_is_refused_and_left_alone(empty_folder: Path, content: bytes) -> None:
    (empty_folder / "mlflow.db").write_bytes(content)
    with pytest.raises(TrackmlError, match="is not an intact MLflow database"):
        store.connect()
    assert (empty_folder / "mlflow.db").read_bytes() == content


def test_an_empty_file_is_no_obstacle(empty_folder: Path) -> None:
    (empty_folder / "mlflow.db").touch()
    assert store.connect().get_experiment("0").name == "Default"


def test_a_server_that_does_not_answer_is_asked_once_and_named_without_its_password(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    waits: list[float] = []
    monkeypatch.setattr(HTTPAdapter, "send", noting(waits.append))
    with pytest.raises(TrackmlError, match=r"answers at http://127\.0\.0\.1:9 ") as failure:
        store.connect()
    assert "secret" not in str(failure.value)
    assert waits == [reach.ANSWER_SECONDS]
    assert not any(empty_folder.iterdir())


def test_a_database_in_a_file_is_refused_where_runs_come_from_several_machines(
    empty_folder: Path,
) -> None:
    store.check_reach(hosts=1)
    with pytest.raises(UsageError, match="the 2 machines of the Ray cluster cannot share"):
        store.check_reach(hosts=2)
    mlflow.set_tracking_uri("http://tracking.example:5000")
    store.check_reach(hosts=2)
