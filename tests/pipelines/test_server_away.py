"""A tracking server that is killed, frozen or not there: nothing is lost, and nobody waits."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import Run

from pipelines import scratch_mnist
from tests.conftest import files, read, runs, start
from tests.pipelines.families import begun_and_stopped
from tests.pipelines.servers import Server, free_port, postgres_server, silent
from tests.pipelines.test_resume import metric_rows, values
from tests.waits import waits
from trackml.tracking.server import RESPONSE_SECONDS
from trackml.tracking.uploader import sync

FLAGS = ("--model", "mlp", "--limit", "3000", "--validation_split", "0.02", "--seed", "7")
MANY = (*FLAGS, "--epochs", "60", "--patience", "0", "--learning_rate", "0.05")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    make = postgres_server if request.param == "postgres" else Server
    with make(tmp_path / "server") as server:
        yield server


def contents(server: Server, run: Run) -> dict[str, Any]:
    """All that a server has of a run, but for what differs between any two."""
    client = read(server.uri)
    own = ("mlflow.", "trackml.process", "trackml.journal", "trackml.heartbeat")
    assert run.inputs
    assert run.outputs
    (output,) = run.outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    versions = client.search_model_versions(f"run_id = '{run.info.run_id}'")
    return {
        "status": run.info.status,
        "params": run.data.params,
        "tags": {k: v for k, v in run.data.tags.items() if not k.startswith(own)},
        "metrics": set(run.data.metrics),
        "rows": {name: sorted(rows) for name, rows in metric_rows(client, run).items()},
        "artifacts": sorted(
            re.sub(r"timestamp\+\d+\+[\w-]+", "", name)  # of pictures
            for name in files(client, run.info.run_id)
        ),
        "datasets": [each.dataset.digest for each in run.inputs.dataset_inputs],
        "model": (str(model.status), {metric.key for metric in model.metrics or []}),
        "versions": [dict(version.tags) for version in versions],
    }


def test_killed_in_mid_run_and_restarted_it_gets_all_that_an_undisturbed_run_has(
    server: Server, tmp_path: Path
) -> None:
    patient = {"MLFLOW_TRACKING_URI": server.uri, "MLFLOW_HTTP_REQUEST_TIMEOUT": "600"}
    process = begun_and_stopped("after:epoch:3", tmp_path, "scratch_mnist", *MANY, **patient)
    server.kill()
    process.send_signal(signal.SIGCONT)
    stdout, stderr = process.communicate()
    assert process.returncode == 3, stderr
    assert stderr.count("warning:") == 1
    assert stderr.count("does not accept what is logged") == 1
    assert "epoch 60/60" in stdout
    assert "`python -m trackml sync` delivers it" in stderr.splitlines()[-1]

    said = start("trackml", "sync", folder=tmp_path)
    assert said.returncode == 3
    assert "still owed" in said.stdout
    server.start()
    (run,) = runs(server.uri)
    assert run.info.status == "RUNNING"
    for expected in (" delivered, FINISHED", "nothing is owed"):
        said = start("trackml", "sync", folder=tmp_path)
        assert said.returncode == 0, said.stderr
        assert expected in said.stdout
    assert not list((tmp_path / ".trackml" / "runs").iterdir())

    said = start("pipelines.scratch_mnist", *MANY, folder=tmp_path, **patient)
    assert said.returncode == 0, said.stderr
    synced, undisturbed = (contents(server, run) for run in runs(server.uri))
    assert synced == undisturbed
    versions = read(server.uri).search_model_versions("name = 'mnist'")
    assert len(versions) == 2
    ends = [run.info.end_time - run.info.start_time for run in runs(server.uri)]
    rows = read(server.uri).get_metric_history(run.info.run_id, "val_loss")
    assert max(row.timestamp for row in rows) <= run.info.start_time + ends[0]


@pytest.mark.slow
def test_frozen_no_epoch_waits_for_more_than_ten_seconds(tmp_path: Path) -> None:
    with Server(tmp_path / "server") as server:
        process = begun_and_stopped(
            *("after:epoch:1", tmp_path, "scratch_mnist", *FLAGS),
            *("--epochs", "1000000", "--patience", "0"),
            by=["tests.waits"],
            MLFLOW_TRACKING_URI=server.uri,
        )
        server.signal(signal.SIGSTOP)
        process.send_signal(signal.SIGCONT)
        assert process.stdout
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("epoch       4/"):
                break
        process.send_signal(signal.SIGINT)
        at_the_end, stderr = process.communicate()
        assert process.returncode == 130
        assert sum(waits(at_the_end)) < 15
        timeouts = [sum(waits(lines)) for lines in said.split("epoch ")]  # as passed, not spent
        assert all(0 < timeout < 10 for timeout in timeouts[-4:-1])
        assert timeouts[-1] == 0
        assert stderr.count("warning:") == 1
        server.signal(signal.SIGCONT)
        assert "delivered, KILLED" in start("trackml", "sync", folder=tmp_path).stdout
        (run,) = runs(server.uri)
        assert run.info.status == "KILLED"
        assert run.data.tags["trackml.failure"] == "stopped by a signal"


@pytest.mark.parametrize("is_there", [False, True], ids=["not there", "frozen"])
def test_at_the_start_it_is_an_error_after_one_short_request(
    is_there: bool, tmp_path: Path
) -> None:
    with silent() as frozen:
        uri = frozen if is_there else f"http://127.0.0.1:{free_port()}"
        command = ("tests.waits", "pipelines.scratch_mnist", *FLAGS)
        said = start(*command, folder=tmp_path, MLFLOW_TRACKING_URI=uri)
    assert waits(said.stdout) == [RESPONSE_SECONDS]
    assert RESPONSE_SECONDS < 10
    assert said.returncode == 1
    assert said.stderr.startswith(f"error: no tracking server answers at {uri}")
    assert "--tracking deferred" in said.stderr
    assert said.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_deferred_begins_without_it_is_resumed_without_it_and_is_delivered(tmp_path: Path) -> None:
    server = Server(tmp_path / "server")
    flags = (*FLAGS, "--epochs", "3", "--tracking", "deferred")
    command, uri = ("pipelines.scratch_mnist", *flags), {"MLFLOW_TRACKING_URI": server.uri}
    said = start("tests.failpoints", "after:epoch:2", *command, folder=tmp_path, **uri)
    assert said.returncode == -signal.SIGKILL, said.stderr
    said = start(*command, "--resume", "true", folder=tmp_path, **uri)
    assert said.returncode == 3, said.stderr
    assert "goes on" in said.stderr
    assert "epoch 1/3" not in said.stdout
    with server:
        said = start("trackml", "sync", folder=tmp_path)
        assert said.returncode == 0, said.stderr
        assert "registered mnist version 1" in said.stdout
        (run,) = runs(server.uri)
        assert run.info.status == "FINISHED"
        assert str(run.info.run_name).startswith("scratch-mlp ")
        history = read(server.uri).get_metric_history(run.info.run_id, "val_loss")
        assert sorted(row.step for row in history) == [0, 1, 2, 3]
        assert max(row.timestamp for row in history) <= run.info.end_time


def test_what_is_owed_to_another_store_is_not_delivered_here(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    flags = (*FLAGS, "--epochs", "1", "--tracking", "deferred")
    assert scratch_mnist.main(scratch_mnist.Params.parse(values(flags))).is_pending
    mlflow.set_tracking_uri("sqlite:///other.db")
    (synced,) = sync()
    assert synced.problem == f"this run belongs to {uri}: set MLFLOW_TRACKING_URI={uri}"
