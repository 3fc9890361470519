"""A project folder that was renamed, moved or copied, with its store and its unfinished runs."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.tracking import MlflowClient

import trackml
from tests.conftest import start
from tests.tracking.toy import Store, finish, train
from trackml.data import ImageData
from trackml.errors import TrackmlError, UsageError
from trackml.tracking import relocate, server
from trackml.tracking.lease import run_lock

Enter = Callable[[Path], Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the project of these tests was made."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture
def enter(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Enter:
    """Make a folder the current one, as if this process had just begun there."""

    def enter(folder: Path) -> Path:
        monkeypatch.chdir(folder)
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
        return folder

    return enter


@pytest.fixture
def store(blobs: ImageData, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Runs in the store of the current folder; `client` is of none."""
    return Store(MlflowClient("http://localhost:9"), blobs, monkeypatch)


@pytest.fixture
def project(made: Path, tmp_path: Path, enter: Enter, store: Store) -> Path:
    """A project with a registered model and an unfinished run, as if made in this folder."""
    if not (made / "mlflow.db").exists():
        enter(made)
        with store.tracked() as run:
            train(run, 1)
            finish(run)
        store.failed(after=2, seed=5)
    folder = tmp_path / "my första 100% proj"
    shutil.copytree(made, folder)
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        for table, column in texts(database):
            new = f"replace({column}, '{made.as_uri()}', '{folder.as_uri()}')"
            database.execute(f"UPDATE {table} SET {column} = {new}")
    for file in folder.glob(".trackml/runs/*/run.json"):
        state = json.loads(file.read_bytes()) | {"store": address(folder)}
        file.write_text(json.dumps(state))
    return enter(folder)


def texts(database: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """All columns with text, whatever MLflow keeps in them."""
    for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
        for _, column, kind, *_ in database.execute(f"PRAGMA table_info({table})").fetchall():
            if "CHAR" in kind or "TEXT" in kind:
                yield table, f'"{column}"'


def named(folder: Path, wanted: Path) -> set[str]:
    """The columns of a folder's database that name a path below another folder."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        return {
            f"{table}.{column}"
            for table, column in texts(database)
            for (text,) in database.execute(f"SELECT {column} FROM {table}")
            if any(f"{name}/" in str(text) for name in (wanted.as_uri(), str(wanted)))
        }


def address(folder: Path) -> str:
    return "sqlite:///" + str(folder / "mlflow.db").replace("%", "%25")


def content(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def renamed(project: Path) -> Path:
    return project.rename(project.with_name("renamed ü"))


def copied(project: Path) -> Path:
    return shutil.copytree(project, project.with_name("copied 41%"))


def copied_twice(project: Path) -> Path:
    return shutil.copytree(copied(project), project.with_name("again"))


def moved_into_itself(project: Path) -> Path:
    inner = project / "inner"
    inner.mkdir()
    for path in [*project.iterdir()]:
        if path != inner:
            path.rename(inner / path.name)
    return inner


@pytest.mark.parametrize("move", [renamed, copied, copied_twice, moved_into_itself])
def test_a_project_that_moved_is_noticed_and_put_right(
    project: Path, enter: Enter, store: Store, move: Callable[[Path], Path]
) -> None:
    new = enter(move(project))
    others = [path for path in project.parent.iterdir() if not new.is_relative_to(path)]
    before = [content(path) for path in others]
    places = named(new, project / "mlruns")
    assert {'experiments."artifact_location"', 'runs."artifact_uri"'} <= places
    for use in (lambda: trackml.load("blobs"), lambda: store.tracked().__enter__(), server.connect):
        with pytest.raises(TrackmlError, match=r"was moved or copied: .*`python -m trackml reloc"):
            use()

    relocated = relocate.relocate_store()
    assert (relocated.places > 3, relocated.outboxes, relocated.active) == (True, 1, ())
    assert named(new, project / "mlruns") == set()
    assert named(new, new / "mlruns") == places
    again = relocate.relocate_store()
    assert (again.moves, again.places, again.outboxes) == ([], 0, 0)

    answers = trackml.load("blobs").predict(np.zeros((2, 9, 9), np.uint8))
    assert np.asarray(answers).shape == (2, 3)
    with store.tracked("mlp") as run:
        finish(run)
    assert list(new.glob(f"mlruns/blobs/{run.run_id}/artifacts/history.json"))
    with store.tracked(seed=5, resume=True) as resumed:
        assert resumed.outbox.state.store == address(new)
        train(resumed, 3)
    rows = resumed.client.get_metric_history(resumed.run_id, "val_loss")
    assert [row.step for row in rows] == [1, 2, 3]
    assert [content(path) for path in others] == before
    assert project.exists() == (move is not renamed)


def test_a_project_that_moved_before_its_first_run_is_noticed(
    tmp_path: Path, enter: Enter, project: Path
) -> None:
    with closing(sqlite3.connect("mlflow.db")) as database, database:
        for table in ("runs", "logged_models", "model_versions"):
            database.execute(f"DELETE FROM {table}")
    shutil.rmtree("mlruns")
    enter(copied(project))  # which nothing but the original gives away
    with pytest.raises(TrackmlError, match="was moved or copied"):
        server.connect()
    enter(renamed(project))
    with pytest.raises(TrackmlError, match="was moved or copied"):
        server.connect()
    assert relocate.relocate_store().places == 2
    server.connect()


def test_the_database_of_a_sub_folder_moves_with_its_project(
    project: Path, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "db").mkdir()
    Path("mlflow.db").rename("db/mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///db/mlflow.db")
    server.connect()
    new = enter(renamed(project))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///db/mlflow.db")
    with pytest.raises(TrackmlError, match=r"`MLFLOW_TRACKING_URI='sqlite:.*' python -m trackml"):
        server.connect()
    (move,) = relocate.relocate_store().moves
    assert move == relocate.Move(project / "mlruns", new / "mlruns")
    trackml.load("blobs")


def test_what_was_not_copied_is_named_and_nothing_changes(project: Path, enter: Enter) -> None:
    new = enter(copied(project))
    lost = next(new.glob("mlruns/blobs/models/*"))
    shutil.rmtree(lost)
    before = Path("mlflow.db").read_bytes()
    with pytest.raises(TrackmlError, match=f"{lost.name}.*cp -rn .*--allow_missing"):
        relocate.relocate_store()
    assert Path("mlflow.db").read_bytes() == before
    shutil.rmtree(project)  # now nobody has it
    with pytest.raises(TrackmlError, match=lost.name):
        relocate.relocate_store()
    assert Path("mlflow.db").read_bytes() == before
    assert relocate.relocate_store(allow_missing=True).places > 3
    server.connect()


def test_artifacts_may_be_named_in_another_folder(project: Path, enter: Enter) -> None:
    disk = project.with_name("disk")
    Path("mlruns").rename(disk)
    server.connect()  # which cannot know of it
    assert relocate.relocate_store(old="mlruns", new="../disk").places > 3
    trackml.load("blobs")
    shutil.move(disk, project / "mlruns")
    assert relocate.relocate_store(old="../disk").places > 3
    trackml.load("blobs")


def test_outboxes_of_the_original_and_of_active_runs_are_left_alone(
    project: Path, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = enter(copied(project))
    (ours,) = new.glob(".trackml/runs/*")
    shared = shutil.copytree(ours, project.with_name("shared") / ours.name)
    with run_lock(ours):
        relocated = relocate.relocate_store()
    assert (relocated.outboxes, len(relocated.active)) == (0, 1)
    monkeypatch.setenv("TRACKML_RUNS_DIR", str(shared.parent))
    old = str(project / "mlruns")
    assert relocate.relocate_store(old=old).outboxes == 0
    assert json.loads((shared / "run.json").read_bytes())["store"] == address(project)
    shutil.rmtree(project)
    assert relocate.relocate_store(old=old).outboxes == 1
    assert json.loads((shared / "run.json").read_bytes())["store"] == address(new)


@pytest.mark.parametrize(
    "location", ["s3://bucket/mlruns/x", "mlflow-artifacts:/0", "mlruns/0", "", "{other}/mlruns/0"]
)
def test_artifacts_that_are_elsewhere_on_purpose_have_not_moved(
    client: MlflowClient, tmp_path_factory: pytest.TempPathFactory, location: str
) -> None:
    other = tmp_path_factory.mktemp("other")
    location = location.format(other=other)
    elsewhere = client.create_experiment("elsewhere", artifact_location=location or None)
    run = client.create_run(elsewhere)
    if str(other) in location:
        client.log_text(run.info.run_id, "here", "note.txt")
        Path("mlruns/0").mkdir(parents=True)  # of another experiment, by another program
    server.connect()
    relocated = relocate.relocate_store()
    assert (relocated.moves, relocated.places) == ([], 0)


def test_the_same_folder_by_another_path_has_not_moved(
    project: Path, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = project.with_name("link")
    link.symlink_to(project)
    enter(link)
    monkeypatch.setenv("PWD", str(link))
    mlflow.set_tracking_uri(address(link))
    trackml.load("blobs")
    moved = project.rename(project.with_name("moved"))
    project.symlink_to(moved)  # so that the old path still leads there
    enter(moved)
    trackml.load("blobs")


def test_relocate_is_a_command(project: Path, enter: Enter) -> None:
    new = enter(renamed(project))
    said = start("trackml", "runs", folder=new)
    assert said.returncode == 1
    assert said.stderr.count("\n") == 1
    assert str(project / "mlruns") in said.stderr
    said = start("trackml", "relocate", folder=new)
    assert said.returncode == 0, said.stderr
    assert f"artifacts: {new}/mlruns (before: {project}/mlruns)" in said.stdout
    assert "and 1 unfinished runs" in said.stdout
    said = start("trackml", "relocate", folder=new)
    assert said.stdout.startswith("nothing to do")
    assert not project.exists()


def test_only_a_database_in_a_file_is_relocated(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TrackmlError, match=r"there is no .*mlflow\.db"):
        relocate.relocate_store()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@host:5000")
    with pytest.raises(UsageError, match="http://host:5000 is not a database in a file"):
        relocate.relocate_store()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    Path("mlflow.db").write_bytes(b"no database" * 99)
    with pytest.raises(TrackmlError, match="not an intact MLflow database"):
        relocate.relocate_store()
    assert sorted(path.name for path in empty_folder.iterdir()) == ["mlflow.db"]
