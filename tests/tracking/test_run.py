"""A run's status tells the truth, and its names are those of the contract."""

import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.exceptions import MlflowException

import trackml
from pipelines import scratch_mnist
from tests.tracking.toy import HISTORY, ROW, Example, Store, finish, network, raised, refuse, train
from trackml.cli import exit_code
from trackml.data import ImageData
from trackml.errors import Terminated, TrackmlError
from trackml.evaluation.report import Report
from trackml.params import Params
from trackml.process import signals
from trackml.tasks import source_sha256
from trackml.tracking.run import log_reports, tracked_run
from trackml.training import checkpoint


def test_a_run_has_the_params_tags_and_dataset_of_the_contract(store: Store) -> None:
    with store.tracked(seed=7):
        pass
    run = store.run()
    assert (run.info.status, run.info.run_name) == ("FINISHED", "cnn seed=7")
    assert store.client.get_experiment(run.info.experiment_id).name == "blobs"
    assert run.data.params == {
        "seed": "7",
        "epochs": "2",
        "batch_size": "8",
        "learning_rate": "0.001",
        "validation_split": "0.1",
        "limit": "0",
        "train_samples": "150",
        "validation_samples": "50",
        "test_samples": "60",
    }
    own = {key: value for key, value in run.data.tags.items() if key.startswith("trackml.")}
    assert own == {
        "trackml.task": "blobs",
        "trackml.framework": "numpy",
        "trackml.architecture": "cnn",
        "trackml.data_sha256": store.data.sha256,
        "trackml.code_sha256": source_sha256(Example.__module__),
        "trackml.process": f"{socket.gethostname()}:{os.getpid()}",
        "trackml.heartbeat": own["trackml.heartbeat"],
        "trackml.journal": own["trackml.journal"],
        "trackml.metric": "accuracy",
        "trackml.higher_is_better": "true",
        "trackml.input": "uint8 (N, 9, 9), raw pixels",
        "trackml.output": "float32 (N, 3), class probabilities",
        "trackml.version": trackml.__version__,
        "trackml.register": "true",
        "trackml.resume": "false",
        "trackml.tracking": "direct",
    }
    assert run.inputs
    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("blobs", store.data.sha256[:36])
    assert "arrays in memory" in dataset.dataset.source


def test_a_dataset_that_another_run_creates_at_the_same_moment_is_found(store: Store) -> None:
    usual, calls = store.client.log_inputs, []

    def log_inputs(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 1:  # as SQLite says it to the slower of two
            raise MlflowException("UNIQUE constraint failed: datasets.experiment_id, datasets.name")
        usual(*args)

    store.use(store.client)
    store.monkeypatch.setattr(store.client, "log_inputs", log_inputs)
    with store.tracked():
        pass
    assert store.status() == "FINISHED"
    inputs = store.run().inputs
    assert inputs
    assert len(inputs.dataset_inputs) == 1


def sent(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    signal.pause()


@pytest.mark.parametrize(
    ("program", "code", "status", "reason"),
    [
        (lambda *_: raised(ValueError("nan\nin epoch 3")), 1, "FAILED", "nan in epoch 3"),
        (lambda *_: raised(Terminated()), 143, "KILLED", "stopped by a signal"),
        (lambda *_: sent(signal.SIGINT), 130, "KILLED", "stopped by a signal"),
        (lambda *_: sent(signal.SIGTERM), 143, "KILLED", "stopped by a signal"),
    ],
)
@pytest.mark.parametrize("trains", [True, False])
def test_a_run_says_how_it_ended_and_why(
    store: Store, program: Any, code: int, status: str, reason: str, trains: bool
) -> None:
    def with_run() -> None:
        if trains:
            with store.tracked():
                program()
        else:
            log_reports(Params(), map(program, [0]), experiment="mnist", name="cnn")

    assert exit_code(with_run) == code
    assert (store.status(), store.run().info.run_name) == (status, "cnn")
    assert store.tags()["trackml.failure"] == reason


def signal_within(method: str, number: signal.Signals, store: Store) -> None:
    """Let a signal arrive as the run calls a method of its client."""
    original = getattr(store.client, method)

    def interrupted(*arguments: Any) -> None:
        os.kill(os.getpid(), number)
        original(*arguments)

    store.use(store.client)
    store.monkeypatch.setattr(store.client, method, interrupted)


@pytest.mark.parametrize(("echo_seconds", "code"), [(1e9, 130), (0.0, 143)])
def test_a_second_signal_does_not_spoil_the_status(
    store: Store, echo_seconds: float, code: int
) -> None:
    """Ctrl-C in `mlflow run`: the terminal's SIGINT, and at once the parent's SIGTERM.

    As an echo it is ignored; as a request of its own it waits until the status is written.
    """
    store.monkeypatch.setattr(signals, "ECHO_SECONDS", echo_seconds)
    signal_within("set_terminated", signal.SIGTERM, store)

    def program() -> None:
        with store.tracked():
            os.kill(os.getpid(), signal.SIGINT)

    assert exit_code(program) == code
    assert store.status() == "KILLED"
    assert store.tags()["trackml.failure"] == "stopped by a signal"


def test_a_signal_in_the_last_write_does_not_leave_the_run_running(store: Store) -> None:
    signal_within("set_terminated", signal.SIGINT, store)
    with pytest.raises(KeyboardInterrupt), signals.stop_requests(), store.tracked():
        pass
    assert store.status() == "FINISHED"


@pytest.mark.parametrize("method", ["log_batch", "log_artifact"])
def test_a_run_that_failed_says_so_whatever_else_the_store_refuses(
    store: Store, method: str
) -> None:
    store.use(store.client)
    with pytest.raises(ValueError, match="broken"), store.tracked() as run:  # noqa: PT012
        store.monkeypatch.setattr(store.client, method, refuse)
        run.outbox.add_artifact("note.txt", lambda path: path.write_text("a"))
        raise ValueError("broken")
    assert store.status() == "FAILED"
    assert (store.tags().get("trackml.failure") == "broken") is (method == "log_artifact")


def test_a_run_of_which_the_store_refuses_the_end_has_failed(store: Store) -> None:
    usual = store.client.set_terminated

    def only_failed(*args: Any) -> None:
        if "FAILED" not in args:
            raise PermissionError("no")
        usual(*args)

    store.use(store.client)
    store.monkeypatch.setattr(store.client, "set_terminated", only_failed)
    with pytest.raises(PermissionError), store.tracked() as run:
        pass
    assert (store.status(), store.tags()["trackml.failure"]) == ("FAILED", "no")
    assert run.outbox.state.status == "FAILED"


@pytest.mark.parametrize(
    ("given", "shown"), [(None, "cnn"), ("My best idea", "My best idea"), ("exp-lr-3", "exp-lr-3")]
)
def test_under_mlflow_run_its_run_is_used_with_its_texts_and_a_name_that_a_person_chose(
    store: Store, given: str | None, shown: str
) -> None:
    made = store.made_by_mlflow(given)
    store.client.log_param(made, "learning_rate", "1e-3")
    store.monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    with store.tracked(learning_rate="1e-3"):
        pass
    run = store.run()
    assert (run.info.run_id, run.info.run_name) == (made, shown)
    assert (run.data.params["learning_rate"], run.data.params["epochs"]) == ("1e-3", "2")


def test_an_experiment_of_the_environment_is_used_with_artifacts_beside_the_database(
    store: Store,
) -> None:
    store.monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    with store.tracked():
        pass
    experiment = store.client.get_experiment(store.run().info.experiment_id)
    assert experiment.name == "mine"
    assert experiment.artifact_location == Path("mlruns/mine").absolute().as_uri()


def test_an_epoch_is_saved_before_mlflow_and_callbacks_learn_of_it(store: Store) -> None:
    calls: list[str] = []
    write, log_batch = checkpoint.write, store.client.log_batch

    def watched_write(path: Path, *args: Any) -> None:
        write(path, *args)
        calls.append(path.name)

    def watched_log_batch(run_id: str, **options: Any) -> None:
        log_batch(run_id, **options)
        calls.extend(f"{each.key} {each.step}" for each in options.get("metrics", [])[1:2])

    store.use(store.client)
    store.monkeypatch.setattr(checkpoint, "write", watched_write)
    store.monkeypatch.setattr(store.client, "log_batch", watched_log_batch)
    with store.tracked(callbacks=[lambda epoch, _row: calls.append(f"epoch {epoch}")]) as run:
        train(run, 2)
        with store.tracked("dense", parent=run.as_parent().of_trial("first")) as trial:
            train(trial, 1)  # which begins anew: nothing is saved
    assert calls == [
        *("checkpoint.npz", "val_loss 1", "epoch 1", "checkpoint.npz", "val_loss 2", "epoch 2"),
        "val_loss 1",
    ]
    assert store.rows(run.run_id) == [(1, 1.0), (2, 0.5)]


@pytest.mark.usefixtures("client")
def test_callbacks_get_each_epoch_of_a_pipeline_and_can_stop_it() -> None:
    seen: list[tuple[int, Mapping[str, float]]] = []

    def stop_after_two(epoch: int, metrics: Mapping[str, float]) -> str | None:
        return "two are enough" if epoch == 2 else None

    params = scratch_mnist.Params.parse({"limit": 500, "epochs": 5})
    result = scratch_mnist.main(
        params, callbacks=[lambda epoch, row: seen.append((epoch, row)), stop_after_two]
    )
    history = result.history
    assert (history.stopped, len(history.rows)) == ("two are enough", 2)
    assert seen == list(enumerate([history.initial, *history.rows]))
    logged = mlflow.get_run(result.run_id)
    assert logged.info.status == "FINISHED"
    assert logged.data.metrics["val_loss"] == history.rows[-1]["val_loss"]
    written = mlflow.artifacts.load_dict(f"{logged.info.artifact_uri}/history.json")
    assert written["stopped"] == "two are enough"


def test_results_arrive_under_their_names(store: Store) -> None:
    report = Report({"test_accuracy": 0.3}, {"reports/note.txt": lambda: "ä"})
    with store.tracked(aliases=["cnn-plain"]) as run:
        run.log_architecture(7, "a layer")
        result = finish(run, report)
    assert (result.run_id, result.task, result.architecture) == (run.run_id, "blobs", "cnn")
    assert (result.history, result.report, result.is_pending) == (HISTORY, report, False)
    logged = store.run()
    assert logged.data.params["model_parameters"] == "7"
    assert logged.data.metrics.pop("model_size_bytes") > 1_000
    assert logged.data.metrics == {
        "best_epoch": 1,
        "best_val_loss": 1.0,
        "best_val_accuracy": 0.4,
        "convergence_epoch": 1,
        "test_accuracy": 0.3,
    }
    assert logged.data.tags["trackml.precision"] == "bfloat16"
    assert logged.data.tags["trackml.device"] == "cpu"
    uri = logged.info.artifact_uri
    history = mlflow.artifacts.load_dict(f"{uri}/history.json")
    assert history == {"best_epoch": 1, "epochs": [ROW]}
    assert mlflow.artifacts.load_text(f"{uri}/reports/note.txt") == "ä"
    assert mlflow.artifacts.load_text(f"{uri}/model_summary.txt") == "a layer"
    assert result.registration
    assert result.registration.aliases == ("cnn", "cnn-plain", "champion")
    champion = store.client.get_model_version_by_alias("blobs", "champion")
    assert champion.run_id == run.run_id


def test_a_model_is_logged_but_not_registered_where_the_parameters_say_so(store: Store) -> None:
    with store.tracked(register=False) as run:
        result = finish(run)
    assert result.registration is None
    assert not store.client.search_registered_models()
    outputs = store.run().outputs
    assert outputs
    assert len(outputs.model_outputs) == 1


def test_a_run_that_fails_before_the_registry_leaves_nothing_in_it(store: Store) -> None:
    with pytest.raises(OSError, match="disk full"), store.tracked() as run:
        run.finish(network(store.data), HISTORY, lambda *_: raised(OSError("disk full")), None)
    assert store.status() == "FAILED"
    assert not store.client.search_registered_models()


def test_no_run_is_created_where_the_store_cannot_be_used(
    empty_folder: Path, blobs: ImageData
) -> None:
    (empty_folder / "mlflow.db").write_text("something else")
    begun = tracked_run(scratch_mnist.TASK, Example.parse({}), blobs, architecture="cnn")
    with pytest.raises(TrackmlError, match="not an intact"), begun:
        pytest.fail("the run began")
