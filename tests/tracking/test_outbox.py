"""A run's folder: what is kept, what is replaced as a whole, what a kill may leave."""

import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trackml.errors import TrackmlError
from trackml.tracking import outbox as module
from trackml.tracking.outbox import (
    Outbox,
    RunMetric,
    RunState,
    outbox_folder,
    outbox_folders,
    remove,
    runs_folder,
)
from trackml.training.checkpoint import Checkpoint

STATE = RunState(
    store="sqlite:///mlflow.db", experiment="blobs", experiment_id="", name="cnn", started=1
)

pytestmark = pytest.mark.usefixtures("empty_folder")


def saved(epochs: int) -> Callable[[], Checkpoint]:
    rows = [{"val_loss": 1.0 / epoch} for epoch in range(1, epochs + 1)]
    return lambda: Checkpoint({"w": np.ones(3)}, [np.ones(3)], rows, {"val_loss": 2.0})


def made(name: str = "a", **state: Any) -> Outbox:
    outbox = Outbox(runs_folder() / name, STATE)
    outbox.update(**state)
    return outbox


def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "replace_file", refuse)
    monkeypatch.setattr("trackml.training.checkpoint.replace_file", refuse)


def test_all_that_is_added_is_there_when_it_is_opened_again() -> None:
    first = made(params={"epochs": "2"})
    first.update(tags={"a": "b"}, run_id="1234", predecessors=("1", "2"))
    first.add_metrics({"test_accuracy": 0.5}, "model")
    first.add_metrics({"test_accuracy": 0.9, "test_loss": math.inf})
    first.add_artifact("reports/note.txt", lambda path: path.write_text("ä"))
    for epoch in (0, 1, 2):
        first.add_epochs({epoch: {"val_loss": 9.0}}, saved(epoch))
    again = Outbox.read(first.folder)
    assert again.state == first.state
    assert again.state.params == {"epochs": "2"}
    assert again.state.tags == {"a": "b", "trackml.journal": "a"}  # by which MLflow finds it
    assert again.state.predecessors == ("1", "2")
    value, at, linked = again.state.metrics["test_accuracy"]
    assert (value, linked, at > 0) == (0.5, "model", True)  # the second was not logged
    assert again.state.metrics["test_loss"][::2] == (math.inf, "")
    assert again.artifacts == first.artifacts
    times = {epoch: at for epoch, (_, at) in first.epochs.items()}
    assert again.epochs == {
        0: ({"val_loss": 2.0}, times[0]),
        1: ({"val_loss": 1.0}, times[1]),
        2: ({"val_loss": 0.5}, times[2]),
    }
    assert (first.is_new, again.is_new, again.run_id) == (True, False, "1234")
    point = again.take_resume_point()
    assert point
    assert len(point.rows) == 2
    assert again.take_resume_point() is None  # it may be large
    assert first.take_resume_point() is None


def test_the_state_of_an_older_version_can_be_read() -> None:
    made(metrics={"test_accuracy": RunMetric(0.5, 7, "dataset")}, run_id="1234", has_model=True)
    path = runs_folder() / "a" / "run.json"
    values = json.loads(path.read_text())
    assert values.pop("predecessors") == []
    path.write_text(json.dumps(values))
    state = RunState.read(path.parent)
    assert (state.run_id, state.has_model, state.predecessors) == ("1234", True, ())
    assert state.metrics == {"test_accuracy": RunMetric(0.5, 7, "dataset")}
    assert set(values) == {
        *("store", "experiment", "experiment_id", "name", "started", "run_id", "params", "tags"),
        *("metrics", "dataset", "has_model", "wants_version", "status", "ended", "is_delivered"),
    }


def test_what_an_older_version_had_in_tags_alone_is_read_from_them() -> None:
    outbox = made()
    path = outbox.folder / "run.json"
    values = json.loads(path.read_text())
    del values["predecessors"]
    values["tags"] = {"trackml.predecessor": "1234"}
    path.write_text(json.dumps(values))
    state = RunState.read(outbox.folder)
    assert state.predecessors == ("1234",)
    assert state.tags["trackml.journal"] == outbox.name


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"metrics": {}, "color": 1}'])
def test_a_damaged_state_is_named_and_its_outbox_is_listed_last(content: str) -> None:
    damaged, old, new = made("x"), made("old", started=5), made("new", started=6)
    (damaged.folder / "run.json").write_text(content)
    (runs_folder() / "empty").mkdir()
    with pytest.raises(TrackmlError, match=f"cannot read {damaged.folder}/run.json.* to give that"):
        Outbox.read(damaged.folder)
    assert outbox_folders() == [new.folder, old.folder, damaged.folder]


def test_what_a_kill_leaves_half_written_is_not_taken_for_a_part_of_the_run() -> None:
    outbox = made()
    for epoch in (0, 1):
        outbox.add_epochs({epoch: {"val_loss": 1.0}}, saved(epoch))
    outbox.add_artifact("a/note.txt", lambda path: path.write_text("whole"))
    drafts = [outbox.folder / f".{name}.5f2c" for name in ("run.json", "checkpoint.npz")]
    for draft in (*drafts, outbox.artifact_folder / "a" / ".other.txt"):
        draft.write_text("ha")
    (runs_folder() / ".b.removed").mkdir()
    (runs_folder() / ".git").mkdir()
    again = Outbox.read(outbox.folder)
    assert list(again.artifacts) == ["a/note.txt"]
    assert list(again.epochs) == [0, 1]
    assert not any(draft.exists() for draft in drafts)  # a checkpoint may be large
    remove(runs_folder() / "nothing")
    assert outbox_folders() == [outbox.folder]
    assert {path.name for path in runs_folder().iterdir()} == {"a", ".git"}


def test_half_a_model_is_replaced_and_a_whole_one_is_kept() -> None:
    def save(text: str) -> Callable[[str], object]:
        def into(folder: str) -> None:
            Path(folder).mkdir()
            Path(folder, "model.bin").write_text(text)

        return into

    outbox = made()
    outbox.model_folder.mkdir()
    (outbox.model_folder / "half").touch()
    assert outbox.add_model(save("four")) == 4
    assert [path.name for path in outbox.model_folder.iterdir()] == ["model.bin"]
    assert RunState.read(outbox.folder).has_model
    assert Outbox.read(outbox.folder).add_model(save("another")) == 4


def test_a_full_disk_leaves_the_last_checkpoint_and_mlflow_does_not_learn_of_the_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outbox = made()
    outbox.add_epochs({1: {"val_loss": 1.0}}, saved(1))
    before = {path: path.read_bytes() for path in outbox.folder.iterdir()}
    full_disk(monkeypatch)
    with pytest.raises(TrackmlError, match=f"cannot write to {outbox.folder}.* No space left"):
        outbox.add_epochs({2: {"val_loss": 0.5}}, saved(2))
    with pytest.raises(TrackmlError, match="TRACKML_RUNS_DIR"):
        outbox.update(tags={"a": "b"})
    assert list(outbox.epochs) == [1]
    outbox.end("FAILED", {"trackml.failure": "no space"}, at=7)
    assert (outbox.state.status, outbox.state.ended) == ("FAILED", 7)  # for MLflow to know
    assert {"a": "b", "trackml.failure": "no space"}.items() <= outbox.state.tags.items()
    assert before == {path: path.read_bytes() for path in outbox.folder.iterdir()}


def test_a_temporary_outbox_writes_no_state_and_no_checkpoint() -> None:
    with Outbox.temporary(STATE) as outbox:
        outbox.update(tags={"a": "b"})
        outbox.add_epochs({1: {"val_loss": 1.0}}, saved(1))
        assert outbox.state.tags["a"] == "b"
        assert outbox.epochs[1][0] == {"val_loss": 1.0}
        assert not outbox.folder.exists()
        outbox.add_artifact("note.txt", lambda path: path.write_text("a"))
        folder = outbox.folder
        assert [path.name for path in folder.iterdir()] == ["artifacts"]
    assert not folder.exists()
    assert not runs_folder().exists()


@pytest.mark.parametrize(
    ("named", "folder"), [("", ".trackml/runs/a"), ("b", "b/a"), ("~/b", "~/b/a")]
)
def test_a_variable_names_the_folder_of_all_runs(
    named: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKML_RUNS_DIR", named)
    assert runs_folder() / "a" == Path(folder).expanduser().absolute()


def test_in_the_copy_that_mlflow_makes_of_a_repository_runs_are_kept_for_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRACKML_RUNS_DIR", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with tempfile.TemporaryDirectory() as copy:
        monkeypatch.chdir(copy)
        assert runs_folder() == Path(copy).resolve() / ".trackml" / "runs"
        monkeypatch.setenv("MLFLOW_RUN_ID", "1")
        kept = made("a").folder
        assert kept == tmp_path / "trackml" / "runs" / "a"
    monkeypatch.chdir(tmp_path)  # and found from anywhere
    monkeypatch.delenv("MLFLOW_RUN_ID")
    assert outbox_folders() == [kept]
    assert outbox_folder("a") == kept
    assert outbox_folder("../b") == tmp_path / ".trackml" / "runs" / "b"
