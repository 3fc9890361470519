"""What a store does not accept, for a moment or at all, and what becomes of it."""

import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from tests.conftest import start
from tests.tracking.toy import ROW, Store, finish, network, refuse, train, unavailable
from trackml.errors import TrackmlError
from trackml.model_files.saving import save_model
from trackml.process.signals import stop_requests
from trackml.tracking import server
from trackml.tracking.outbox import Outbox, RunState, outbox_folders, runs_folder
from trackml.tracking.uploader import Uploader, sync, uploading
from trackml.training.checkpoint import Checkpoint


class Changed:
    """A client of which a method takes a while, then fails so often, doing its work or not."""

    def __init__(
        self, client: MlflowClient, method: str, *, fails: int = 0, works: bool = False
    ) -> None:
        self._client, self._method, self._fails, self._works = client, method, fails, works
        self.seconds = 0.0
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        usual = getattr(self._client, name)

        def changed(*args: Any, **options: Any) -> Any:
            self.calls[name] += 1
            if name != self._method:
                return usual(*args, **options)
            time.sleep(self.seconds)
            self._fails -= 1
            response = usual(*args, **options) if self._works or self._fails < 0 else None
            if self._fails >= 0:
                raise unavailable()
            return response

        return changed


def made(name: str = "a", **changes: Any) -> Outbox:
    address, tags = server.shown_address(), {"trackml.task": "blobs"}
    state = RunState(
        store=address, experiment="blobs", experiment_id="", name="cnn", started=1, tags=tags
    )
    outbox = Outbox(runs_folder() / name, state)
    outbox.update(**changes)
    return outbox


@pytest.mark.parametrize("works", [True, False])
@pytest.mark.parametrize(
    "method",
    [
        *("create_run", "log_batch", "log_inputs", "log_artifact", "set_terminated"),
        *("create_logged_model", "log_model_artifacts", "finalize_logged_model", "log_outputs"),
    ],
)
def test_a_response_that_gets_lost_doubles_nothing(store: Store, method: str, works: bool) -> None:
    dataset = {"name": "a", "digest": "b", "source_type": "c", "source": "{}"}
    outbox = made(params={"epochs": "2"}, dataset=dataset)
    outbox.add_model(lambda folder: save_model(folder, network(store.data), "numpy", store.data))
    outbox.add_metrics({"test_accuracy": 0.5}, "model")
    outbox.add_epochs({1: {"val_loss": 1.0}})
    outbox.add_artifact("a/note.txt", lambda path: path.write_text("ä"))
    unsteady: Any = Changed(store.client, method, fails=2, works=works)
    uploader = Uploader(unsteady, outbox)
    for _ in range(2):
        uploader.push()
    uploader.end("FINISHED")
    assert outbox.folder.exists() != uploader.is_complete
    uploader.push()
    uploader.push()
    assert uploader.is_complete
    run = store.run()
    assert (run.info.status, run.data.params) == ("FINISHED", {"epochs": "2"})
    assert run.inputs
    assert len(run.inputs.dataset_inputs) == 1
    assert store.rows(run.info.run_id) == [(1, 1.0)]
    assert store.rows(run.info.run_id, "test_accuracy") == [(0, 0.5)]
    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/a/note.txt") == "ä"
    assert run.outputs
    models = [store.client.get_logged_model(each.model_id) for each in run.outputs.model_outputs]
    (model,) = [model for model in models if str(model.status) == "READY"]
    assert [metric.key for metric in model.metrics or []] == ["test_accuracy"]


def test_a_push_uploads_only_new_things_and_leaves_the_rest_to_the_next_one_when_time_is_up(
    store: Store,
) -> None:
    outbox = made(params={"epochs": "2"})
    for number in range(3):
        outbox.add_artifact(f"{number}.txt", lambda path: path.write_text("old"))
    client: Any = Changed(store.client, "log_artifact")
    client.seconds = 0.4
    uploader = Uploader(client, outbox)
    uploader.push(seconds=1)
    assert (uploader.is_complete, uploader.unreachable) == (False, "")
    for _ in range(2):
        uploader.push(seconds=None)
        assert (uploader.is_complete, uploader.unreachable) == (True, "")
    assert client.calls["log_artifact"] == 3
    assert client.calls["create_run"] == client.calls["log_batch"] == 1
    outbox.add_artifact("1.txt", lambda path: path.write_text("new"))
    uploader.push()
    assert client.calls["log_artifact"] == 4
    uri = store.run().info.artifact_uri
    texts = [mlflow.artifacts.load_text(f"{uri}/{number}.txt") for number in range(3)]
    assert texts == ["old", "new", "old"]


def test_a_run_that_is_pending_at_its_end_is_registered_by_sync(
    store: Store, empty_folder: Path
) -> None:
    store.use(Changed(store.client, "log_model_artifacts", fails=3))
    with store.tracked() as run:
        train(run, 1)
        result: Any = finish(run)
    assert result.is_pending
    assert result.registration is None
    assert store.status() == "RUNNING"
    said = start("trackml", "sync", folder=empty_folder)
    assert said.returncode == 0, said.stderr
    assert "registered blobs version 1" in said.stdout
    assert not result.is_pending
    assert store.status() == "FINISHED"
    outputs = store.run().outputs
    assert outputs
    (output,) = outputs.model_outputs
    metrics = store.client.get_logged_model(output.model_id).metrics
    assert metrics
    assert {"test_accuracy", "best_val_loss"} <= {metric.key for metric in metrics}


def test_a_reason_that_comes_twice_is_said_twice(store: Store) -> None:
    for resume in (False, True):
        assert store.failed(resume=resume) == store.run().info.run_id
        assert (store.status(), store.tags()["trackml.failure"]) == ("FAILED", "broken")


def test_a_request_to_stop_in_a_failing_request_is_not_lost(client: MlflowClient) -> None:
    class Stopped:
        def __getattr__(self, name: str) -> Any:
            os.kill(os.getpid(), signal.SIGINT)
            raise unavailable()

    stopped: Any = Stopped()
    with pytest.raises(KeyboardInterrupt), stop_requests():
        Uploader(stopped, made()).push()


def test_a_request_to_stop_waits_for_the_end_of_the_request_to_the_store(
    client: MlflowClient,
) -> None:
    ended: list[str] = []

    class Asked:
        def __getattr__(self, name: str) -> Any:
            def call(*args: Any, **options: Any) -> Any:
                if name == "create_run":
                    os.kill(os.getpid(), signal.SIGINT)
                result = getattr(client, name)(*args, **options)
                ended.append(name)
                return result

            return call

    asked: Any = Asked()
    with pytest.raises(KeyboardInterrupt), stop_requests():
        Uploader(asked, made()).push()
    assert ended[-1] == "create_run"


def test_nothing_is_kept_of_a_run_that_never_began(client: MlflowClient) -> None:
    unsteady: Any = Changed(client, "create_run", fails=9)
    with (
        pytest.raises(TrackmlError, match="broken"),
        uploading(unsteady, made(), must_respond=False),
    ):
        raise TrackmlError("broken")
    assert outbox_folders() == []


def test_a_store_must_accept_a_run_unless_it_may_be_deferred(client: MlflowClient) -> None:
    unsteady: Any = Changed(client, "create_run", fails=9)
    words = "does not accept a run: MlflowException: the database is locked"
    with pytest.raises(TrackmlError, match=words):
        Uploader(unsteady, made()).begin(must_respond=True)
    uploader = Uploader(unsteady, made())
    uploader.begin(must_respond=False)
    assert "locked" in uploader.unreachable


def test_sync_passes_over_an_outbox_that_it_cannot_read(store: Store, empty_folder: Path) -> None:
    damaged, _ = (made(name, status="FINISHED", ended=5) for name in ("damaged", "whole"))
    (damaged.folder / "checkpoint.npz").write_text("damaged")
    said = start("trackml", "sync", folder=empty_folder)
    assert said.returncode == 3
    assert f"cannot read the checkpoint {damaged.folder}" in said.stdout
    assert "delivered, FINISHED" in said.stdout
    assert outbox_folders() == [damaged.folder]


def test_sync_does_not_bring_back_a_run_that_was_deleted_in_the_store(store: Store) -> None:
    outbox = made()
    Uploader(store.client, outbox).push()
    outbox.update(status="FINISHED", ended=5)
    store.client.delete_run(outbox.run_id)
    (synced,) = sync()
    assert f"mlflow runs restore --run-id {outbox.run_id}" in synced.problem
    assert store.status(outbox.run_id) == "RUNNING"


def test_sync_ends_a_run_whose_process_was_killed_at_its_last_epoch(store: Store) -> None:
    """Whatever else of it the store refuses."""
    outbox = made()
    outbox.add_epochs({1: ROW}, lambda: Checkpoint({}, [], [ROW], {}))
    outbox.add_artifact("note.txt", lambda path: path.write_text("a"))
    with store.monkeypatch.context() as broken:
        broken.setattr(MlflowClient, "log_batch", refuse)
        for _ in range(2):
            (synced,) = sync()
            assert synced.problem == "no"
            info = store.run().info
            assert (info.status, info.end_time) == ("KILLED", outbox.epochs[1][1])
    (synced,) = sync()
    assert (synced.run_id, synced.problem) == (store.run().info.run_id, "")
    assert store.tags()["trackml.failure"] == "its process was killed"
    assert list(sync()) == []
