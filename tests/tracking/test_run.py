"""A run's status tells the truth, and its names are those of the contract."""

import os
import signal
import socket
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

import trackml
from tests.conftest import small_model
from trackml import signals
from trackml.cli import exit_code
from trackml.code import digest_of
from trackml.data import ImageData
from trackml.errors import TrackmlError
from trackml.evaluation.report import Report
from trackml.fields import BatchSize, Epochs, LearningRate
from trackml.history import History
from trackml.params import TrainingParams
from trackml.tracking.run import Run, tracked_run


class Example(TrainingParams):
    epochs: Epochs = 2
    batch_size: BatchSize = 8
    learning_rate: LearningRate = 0.001


def tracked(data: ImageData, **values: Any) -> Any:
    return tracked_run(Example.parse(values), data, framework="keras", architecture="cnn")


def only_run(client: MlflowClient) -> MlflowRun:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    (run,) = client.search_runs(experiments)
    return run


def test_a_run_has_the_params_tags_and_dataset_of_the_contract(
    client: MlflowClient, blobs: ImageData
) -> None:
    with tracked(blobs, seed=7):
        pass
    run = only_run(client)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "cnn")
    assert client.get_experiment(run.info.experiment_id).name == "blobs"
    assert run.data.params == {
        "seed": "7",
        "epochs": "2",
        "batch_size": "8",
        "learning_rate": "0.001",
        "validation_split": "0.1",
        "limit": "0",
        "register": "true",
        "resume": "false",
        "tracking": "direct",
        "train_samples": "150",
        "validation_samples": "50",
        "test_samples": "60",
    }
    own = {key: value for key, value in run.data.tags.items() if key.startswith("trackml.")}
    assert own == {
        "trackml.task": "blobs",
        "trackml.framework": "keras",
        "trackml.architecture": "cnn",
        "trackml.data_sha256": blobs.sha256,
        "trackml.code_sha256": digest_of(Example),
        "trackml.process": f"{socket.gethostname()}:{os.getpid()}",
        "trackml.journal": own["trackml.journal"],
        "trackml.version": trackml.__version__,
    }
    assert run.inputs
    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("blobs", blobs.sha256[:36])
    assert "arrays in memory" in dataset.dataset.source


def test_a_dataset_that_another_run_makes_in_the_same_moment_is_found(
    client: MlflowClient, blobs: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, calls = MlflowClient.log_inputs, []

    def log_inputs(self: MlflowClient, *args: Any) -> None:
        calls.append(args)
        if len(calls) == 1:  # as SQLite says it to the slower of two
            raise MlflowException("UNIQUE constraint failed: datasets.experiment_id, datasets.name")
        usual(self, *args)

    monkeypatch.setattr(MlflowClient, "log_inputs", log_inputs)
    with tracked(blobs):
        pass
    run = only_run(client)
    assert run.info.status == "FINISHED"
    assert run.inputs
    assert len(run.inputs.dataset_inputs) == 1


def test_an_error_ends_as_failed_with_its_reason(client: MlflowClient, blobs: ImageData) -> None:
    def program() -> None:
        with tracked(blobs):
            raise ValueError("val_loss is nan\nin epoch 3")

    assert exit_code(program) == 1
    run = only_run(client)
    assert run.info.status == "FAILED"
    assert run.data.tags["trackml.failure"] == "val_loss is nan in epoch 3"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_as_killed(
    client: MlflowClient, blobs: ImageData, number: signal.Signals, code: int
) -> None:
    def program() -> None:
        with tracked(blobs):
            os.kill(os.getpid(), number)
            signal.pause()

    assert exit_code(program) == code
    assert only_run(client).info.status == "KILLED"


def signal_within(
    method: str, number: signal.Signals, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let a signal arrive as the run calls a method of its client."""
    original = getattr(client, method)

    def interrupted(*arguments: Any) -> None:
        os.kill(os.getpid(), number)
        original(*arguments)

    monkeypatch.setattr("trackml.tracking.store.MlflowClient", lambda: client)
    monkeypatch.setattr(client, method, interrupted)


@pytest.mark.parametrize(("echo_seconds", "code"), [(1e9, 130), (0.0, 143)])
def test_a_second_signal_does_not_spoil_the_status(
    client: MlflowClient,
    blobs: ImageData,
    monkeypatch: pytest.MonkeyPatch,
    echo_seconds: float,
    code: int,
) -> None:
    """Ctrl-C in `mlflow run`: the terminal's SIGINT, and at once the parent's SIGTERM.

    As an echo it is ignored; as a request of its own it waits until the status is written.
    """
    monkeypatch.setattr(signals, "ECHO_SECONDS", echo_seconds)
    signal_within("set_terminated", signal.SIGTERM, client, monkeypatch)

    def program() -> None:
        with tracked(blobs):
            os.kill(os.getpid(), signal.SIGINT)

    assert exit_code(program) == code
    run = only_run(client)
    assert run.info.status == "KILLED"
    assert run.data.tags["trackml.failure"] == "stopped by a signal"


def test_a_signal_in_the_last_write_does_not_leave_the_run_running(
    client: MlflowClient, blobs: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal_within("set_terminated", signal.SIGINT, client, monkeypatch)
    with pytest.raises(KeyboardInterrupt), signals.stop_requests(), tracked(blobs):
        pass
    assert only_run(client).info.status == "FINISHED"


def test_a_failure_that_cannot_be_explained_is_a_failure_still(
    client: MlflowClient, blobs: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no tags today")

    monkeypatch.setattr("trackml.tracking.store.MlflowClient", lambda: client)

    def program() -> None:
        with tracked(blobs):
            monkeypatch.setattr(client, "log_batch", fail)
            raise ValueError("the first reason")

    with pytest.raises(ValueError, match="the first reason"):
        program()
    assert only_run(client).info.status == "FAILED"


def test_under_mlflow_run_its_run_is_used_and_its_text_of_a_parameter_stays(
    client: MlflowClient, blobs: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = client.create_run("0")
    client.log_param(made.info.run_id, "learning_rate", "1e-3")
    monkeypatch.setenv("MLFLOW_RUN_ID", made.info.run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    with tracked(blobs, learning_rate="1e-3"):
        pass
    run = only_run(client)
    assert run.info.run_id == made.info.run_id
    assert run.data.params["learning_rate"] == "1e-3"
    assert run.data.params["epochs"] == "2"
    assert run.info.run_name == "cnn"


@pytest.mark.parametrize("name", ["My best idea", "exp-lr-3"])
def test_a_name_that_a_person_chose_is_kept(
    client: MlflowClient, blobs: ImageData, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    made = client.create_run("0", run_name=name)
    monkeypatch.setenv("MLFLOW_RUN_ID", made.info.run_id)
    with tracked(blobs):
        pass
    assert only_run(client).info.run_name == name


def test_an_experiment_of_the_environment_is_used_with_artifacts_beside_the_database(
    client: MlflowClient, blobs: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    with tracked(blobs):
        pass
    experiment = client.get_experiment(only_run(client).info.experiment_id)
    assert experiment.name == "mine"
    assert experiment.artifact_location == Path("mlruns/mine").absolute().as_uri()


def test_epochs_are_steps_from_one(client: MlflowClient, blobs: ImageData) -> None:
    with tracked(blobs) as run:
        run.log_epoch(1, {"train_loss": 0.9, "val_loss": 1.0})
        run.log_epoch(2, {"train_loss": 0.8, "val_loss": 0.9})
    rows = client.get_metric_history(run.run_id, "train_loss")
    assert [(row.step, row.value) for row in rows] == [(1, 0.9), (2, 0.8)]


HISTORY = History("accuracy", "bfloat16").extended(
    {"train_loss": 0.9, "val_loss": 1.0, "train_accuracy": 0.5, "val_accuracy": 0.4}
)


def test_results_arrive_under_their_names(client: MlflowClient, blobs: ImageData) -> None:
    with tracked(blobs) as run:
        report = Report({"test_accuracy": 0.3}, {"reports/note.txt": "ä"})
        result = run.log_result(small_model(), HISTORY, report)
    assert (result.run_id, result.task, result.architecture) == (run.run_id, "blobs", "cnn")
    assert (result.history, result.report) == (HISTORY, report)
    logged = client.get_run(run.run_id)
    assert logged.data.metrics.pop("model_size_bytes") > 10_000
    assert logged.data.metrics == {
        "best_epoch": 1,
        "best_val_loss": 1.0,
        "best_val_accuracy": 0.4,
        "convergence_epoch": 1,
        "test_accuracy": 0.3,
    }
    assert logged.data.tags["trackml.precision"] == "bfloat16"
    assert logged.data.tags["trackml.device"] == "cpu"
    history = mlflow.artifacts.load_dict(f"{logged.info.artifact_uri}/history.json")
    assert history == {"best_epoch": 1, "epochs": list(HISTORY.rows)}
    assert mlflow.artifacts.load_text(f"{logged.info.artifact_uri}/reports/note.txt") == "ä"
    assert result.registration
    assert result.registration.aliases == ("cnn", "champion")
    version = client.get_model_version_by_alias("blobs", "champion")
    assert version.run_id == run.run_id


def test_a_model_is_logged_but_not_registered_where_the_parameters_say_so(
    client: MlflowClient, blobs: ImageData
) -> None:
    with tracked(blobs, register=False) as run:
        result = run.log_result(small_model(), HISTORY, Report({"test_accuracy": 0.3}))
    assert result.registration is None
    assert not client.search_registered_models()
    outputs = client.get_run(run.run_id).outputs
    assert outputs
    assert len(outputs.model_outputs) == 1


def test_what_fails_before_the_registry_leaves_nothing_in_it(
    client: MlflowClient, blobs: ImageData
) -> None:
    class Unsaveable:
        def savefig(self, path: Path) -> None:
            raise OSError("disk full")

    broken: Any = Report({"test_accuracy": 0.3}, figures={"figures/x.png": Unsaveable()})  # type: ignore[dict-item]
    with pytest.raises(TrackmlError, match="disk full"), tracked(blobs) as run:
        run.log_result(small_model(), HISTORY, broken)
    assert only_run(client).info.status == "FAILED"
    assert not client.search_registered_models()


def finished(data: ImageData, architecture: str, accuracy: float, **values: Any) -> Run:
    params = Example.parse(values)
    with tracked_run(params, data, framework="keras", architecture=architecture) as run:
        run.log_report(Report({"test_accuracy": accuracy}))
    return run


def test_the_previous_run_is_the_one_whose_parameters_agree(
    client: MlflowClient, blobs: ImageData
) -> None:
    finished(blobs, "cnn", 0.1, epochs=3)
    finished(blobs, "cnn", 0.2)
    finished(blobs, "cnn", 0.3, epochs=4, seed=2)
    with tracked_run(Example.parse({}), blobs, framework="keras", architecture="cnn-aug") as run:
        previous = run.closest("cnn", ["test_accuracy"])
    assert previous
    assert previous.metrics == {"test_accuracy": 0.2}
    assert previous.differences == ()


def test_there_is_no_previous_run_of_another_task_or_one_that_failed(
    client: MlflowClient, blobs: ImageData
) -> None:
    with pytest.raises(ValueError, match="broken"), tracked(blobs):
        raise ValueError("broken")
    with tracked_run(Example.parse({}), blobs, framework="keras", architecture="cnn-aug") as run:
        assert run.closest("cnn", ["test_accuracy"]) is None


def test_no_run_is_made_where_the_store_cannot_be_used(
    empty_folder: Path, blobs: ImageData
) -> None:
    (empty_folder / "mlflow.db").write_text("something else")
    with pytest.raises(Exception, match="not an intact"), tracked(blobs):
        pytest.fail("the run began")
