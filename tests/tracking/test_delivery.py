"""What a store does not take, for a moment or at all, and what becomes of it."""

import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import mlflow
import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from tests.conftest import small_model, start
from tests.tracking.test_run import HISTORY, only_run, tracked
from trackml.data import ImageData
from trackml.errors import TrackmlError
from trackml.evaluation.report import Report
from trackml.signals import stop_requests
from trackml.tracking import delivery as delivering
from trackml.tracking import reach
from trackml.tracking.delivery import Delivery
from trackml.tracking.journal import Facts, Journal, all_journals, new_folder


class Unsteady:
    """A client that fails in one method, after or instead of doing what it is asked for."""

    def __init__(self, client: MlflowClient, method: str, *, times: int, does_it: bool) -> None:
        self._client, self._method, self._left, self._does_it = client, method, times, does_it

    def __getattr__(self, name: str) -> Any:
        usual = getattr(self._client, name)
        if name != self._method or not self._left:
            return usual

        def fail(*args: Any, **options: Any) -> None:
            self._left -= 1
            if self._does_it:
                usual(*args, **options)
            raise unavailable()

        return fail


def unavailable() -> MlflowException:
    from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

    return MlflowException("the database is locked", error_code=TEMPORARILY_UNAVAILABLE)


def journal(name: str = "a") -> Journal:
    facts = Facts(reach.shown_address(), "blobs", "", "cnn", 1, tags={"trackml.task": "blobs"})
    made = Journal(new_folder(name), facts)
    made.keep()
    return made


@pytest.mark.parametrize("does_it", [True, False])
@pytest.mark.parametrize(
    "method", ["create_run", "log_batch", "log_inputs", "log_artifact", "set_terminated"]
)
def test_an_answer_that_gets_lost_doubles_nothing(
    client: MlflowClient, method: str, does_it: bool
) -> None:
    made = journal()
    made.facts.params = {"epochs": "2"}
    made.facts.dataset = {"name": "a", "digest": "b", "source_type": "c", "source": "{}"}
    made.add_metrics({"test_accuracy": 0.5}, "dataset")
    made.add_epoch(1, {"val_loss": 1.0})
    made.add_artifact("a/note.txt", lambda path: path.write_text("ä"))
    unsteady: Any = Unsteady(client, method, times=2, does_it=does_it)
    delivery = Delivery(unsteady, made, is_new=True)
    for _ in range(2):
        delivery.push()
    delivery.end("FINISHED")
    assert made.folder.exists() != delivery.is_complete
    delivery.push()
    delivery.push()
    assert delivery.is_complete
    run = only_run(client)
    assert (run.info.status, run.data.params) == ("FINISHED", {"epochs": "2"})
    assert run.inputs
    assert len(run.inputs.dataset_inputs) == 1
    for name in ("val_loss", "test_accuracy"):
        assert len(client.get_metric_history(run.info.run_id, name)) == 1
    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/a/note.txt") == "ä"


def test_a_run_that_failed_says_so_even_if_its_artifacts_are_refused(
    client: MlflowClient, blobs: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("no")

    monkeypatch.setattr("trackml.tracking.store.MlflowClient", lambda: client)
    monkeypatch.setattr(client, "log_artifact", refuse)
    with pytest.raises(PermissionError), tracked(blobs) as run:
        run.log_report(Report(texts={"note.txt": "a"}))
    found = only_run(client)
    assert (found.info.status, found.data.tags["trackml.failure"]) == ("FAILED", "no")


def test_what_is_owed_at_the_end_is_registered_by_sync(
    client: MlflowClient, blobs: ImageData, monkeypatch: pytest.MonkeyPatch, empty_folder: Path
) -> None:
    unsteady = Unsteady(client, "log_model_artifacts", times=3, does_it=False)
    monkeypatch.setattr("trackml.tracking.store.MlflowClient", lambda: unsteady)
    with tracked(blobs) as run:
        run.log_epoch(1, HISTORY.rows[0])
        result = run.log_result(small_model(), HISTORY, Report({"test_accuracy": 0.3}))
    assert result.is_owed
    assert result.registration is None
    assert only_run(client).info.status == "RUNNING"
    said = start("trackml", "sync", folder=empty_folder)
    assert said.returncode == 0, said.stderr
    assert "registered blobs version 1" in said.stdout
    assert not result.is_owed
    found = only_run(client)
    assert found.info.status == "FINISHED"
    assert found.outputs
    (output,) = found.outputs.model_outputs
    metrics = client.get_logged_model(output.model_id).metrics
    assert metrics
    assert {"test_accuracy", "best_val_loss"} <= {metric.key for metric in metrics}


def test_a_reason_that_comes_twice_is_said_twice(client: MlflowClient, blobs: ImageData) -> None:
    for resume in (False, True):
        with pytest.raises(ValueError, match="broken"), tracked(blobs, resume=resume):
            raise ValueError("broken")
        found = only_run(client)
        assert (found.info.status, found.data.tags["trackml.failure"]) == ("FAILED", "broken")


def test_a_request_to_stop_in_a_failing_request_is_not_lost(client: MlflowClient) -> None:
    class Stopped:
        def __getattr__(self, name: str) -> Any:
            os.kill(os.getpid(), signal.SIGINT)
            raise unavailable()

    stopped: Any = Stopped()
    with pytest.raises(KeyboardInterrupt), stop_requests():
        Delivery(stopped, journal(), is_new=True).push()


def test_sync_passes_over_what_it_cannot_read(client: MlflowClient, empty_folder: Path) -> None:
    first, second = journal("first"), journal("second")
    first.facts.status = second.facts.status = "FINISHED"
    first.facts.ended = second.facts.ended = 5
    second.keep()
    first.keep()
    (first.folder / "checkpoint.npz").write_text("damaged")
    said = start("trackml", "sync", folder=empty_folder)
    assert said.returncode == 3
    assert f"cannot read the checkpoint {first.folder}" in said.stdout
    assert "delivered, FINISHED" in said.stdout
    assert all_journals() == [first.folder]


def test_what_was_deleted_in_the_store_is_not_brought_back(
    client: MlflowClient, empty_folder: Path
) -> None:
    made = journal()
    Delivery(client, made, is_new=True).push()
    made.facts.status, made.facts.ended = "FINISHED", 5
    made.keep()
    client.delete_run(made.facts.run_id)
    said = start("trackml", "sync", folder=empty_folder)
    assert said.returncode == 3
    assert f"mlflow runs restore --run-id {made.facts.run_id}" in said.stdout
    assert client.get_run(made.facts.run_id).info.status == "RUNNING"


def test_what_a_user_has_set_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "MLFLOW_HTTP_REQUEST_TIMEOUT"
    monkeypatch.delenv(name, raising=False)
    with reach.patience(5):
        assert os.environ[name] == "5"
    assert name not in os.environ
    monkeypatch.setenv(name, "300")
    with reach.patience(5):
        assert os.environ[name] == "300"


@pytest.fixture
def out_of_order() -> Iterator[str]:
    """The address of a server that has nothing but a status to say."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(self.path[1:4]))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("status", "away"), [(500, True), (429, True), (520, True), (404, False)])
def test_a_server_that_is_out_of_order_is_away(out_of_order: str, status: int, away: bool) -> None:
    mlflow.set_tracking_uri(f"{out_of_order}/{status}")
    try:
        client = MlflowClient()
        with reach.patience(5), pytest.raises(MlflowException) as caught:
            client.get_run("a")
        assert reach.is_away(caught.value) == away
        assert reach.answers() != away
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


def test_an_error_of_ones_own_is_not_of_the_store(client: MlflowClient) -> None:
    assert not reach.is_away(ValueError("nan"))
    assert not reach.is_away(MlflowException("wrong"))
    assert reach.is_away(requests.ConnectionError())


@pytest.mark.parametrize("typed", ["http://Me:secret@Host:5000/", "http://host:5000"])
def test_a_server_is_known_by_the_same_name_however_it_is_typed(typed: str) -> None:
    mlflow.set_tracking_uri(typed)
    try:
        assert reach.shown_address() == "http://host:5000"
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


def test_an_empty_name_of_the_folder_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKML_RUNS_DIR", "")
    assert new_folder("a") == Path(".trackml/runs/a").absolute()


def test_a_deadline_leaves_the_rest_to_the_next_time(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = journal()
    for number in range(3):
        made.add_artifact(f"{number}.txt", lambda path: path.write_text("a"))

    now = 0.0
    monkeypatch.setattr(delivering, "monotonic", lambda: now)

    class Slow:
        def __getattr__(self, name: str) -> Any:
            nonlocal now
            now += 0.6 * (name == "log_artifact")
            return getattr(client, name)

    slow: Any = Slow()
    delivery = Delivery(slow, made, is_new=True)
    delivery.push(seconds=1)
    assert (delivery.is_complete, delivery.away) == (False, "")
    assert len(client.list_artifacts(made.facts.run_id)) == 2
    delivery.push(seconds=None)
    assert (delivery.is_complete, delivery.away) == (True, "")
    assert len(client.list_artifacts(made.facts.run_id)) == 3


def test_a_store_must_take_a_run_unless_it_may_be_deferred(client: MlflowClient) -> None:
    gone: Any = Unsteady(client, "create_run", times=9, does_it=False)
    with pytest.raises(TrackmlError, match="does not take a run: MlflowException: the database"):
        Delivery(gone, journal(), is_new=True).begin(must_answer=True)
