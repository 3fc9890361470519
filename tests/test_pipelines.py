"""Whole pipelines on real data, cut short by `limit`, started and read back as users do."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from pipelines.fashion import Params
from tests.conftest import ROOT, SHORT, Finished, entry_points, read, runs, start, user_environment
from trackml.data import load


def artifacts(client: MlflowClient, run: Run, path: str | None = None) -> Iterator[str]:
    for entry in client.list_artifacts(run.info.run_id, path):
        if entry.is_dir:
            yield from artifacts(client, run, entry.path)
        else:
            yield entry.path


PER_EPOCH = {
    *("train_loss", "val_loss", "train_accuracy", "val_accuracy"),
    *("learning_rate", "epoch_seconds", "samples_per_second"),
}
AT_THE_END = {
    *("best_epoch", "best_val_loss", "best_val_accuracy", "test_loss", "test_accuracy"),
    *("test_precision_macro", "test_recall_macro", "test_f1_macro"),
    *(f"test_f1_class_{c}" for c in range(10)),
}
ARTIFACTS = {
    *(
        f"figures/{name}.png"
        for name in ("learning_curves", "confusion_matrix", "per_class_f1", "mistakes", "samples")
    ),
    *("reports/classification_report.txt", "reports/classification_report.json"),
    *("reports/confusion_matrix.json", "history.json", "model_summary.txt"),
}


def test_runs_keep_the_tracking_contract(finished: Finished) -> None:
    data = load("fashion_mnist")
    for run, architecture in zip(runs(finished.folder), ("cnn", "cnn-aug"), strict=True):
        assert (run.info.status, run.info.run_name) == ("FINISHED", architecture)
        assert finished.client.get_experiment(run.info.experiment_id).name == "fashion_mnist"
        assert set(run.data.metrics) == PER_EPOCH | AT_THE_END
        for name in PER_EPOCH:
            history = finished.client.get_metric_history(run.info.run_id, name)
            assert [row.step for row in history] == [1, 2]
        assert set(run.data.params) == set(Params.flags()) | {
            *("model_parameters", "train_samples", "validation_samples", "test_samples")
        }
        assert run.data.params["model_parameters"] == "421642"
        assert run.data.params["train_samples"] == "3000"
        assert run.data.params["augment"] == str(architecture == "cnn-aug").lower()
        assert run.data.tags["trackml.task"] == "fashion_mnist"
        assert run.data.tags["trackml.framework"] == "keras"
        assert run.data.tags["trackml.architecture"] == architecture
        assert run.data.tags["trackml.data_sha256"] == data.sha256
        assert run.data.tags["trackml.version"]
        assert set(artifacts(finished.client, run)) >= ARTIFACTS
        assert run.inputs
        (dataset,) = run.inputs.dataset_inputs
        assert dataset.dataset.digest == data.sha256[:36]
        assert data.source in dataset.dataset.source


def test_the_history_file_tells_what_the_metrics_tell(finished: Finished) -> None:
    run = runs(finished.folder)[0]
    history = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/history.json")
    logged = finished.client.get_metric_history(run.info.run_id, "val_accuracy")
    assert [row["val_accuracy"] for row in history["epochs"]] == [row.value for row in logged]
    assert run.data.metrics["best_val_accuracy"] == max(row.value for row in logged)
    assert history["best_epoch"] == run.data.metrics["best_epoch"]


def test_test_metrics_are_linked_to_the_model_and_the_dataset(finished: Finished) -> None:
    run = runs(finished.folder)[0]
    assert run.outputs
    (output,) = run.outputs.model_outputs
    model = finished.client.get_logged_model(output.model_id)
    assert model.metrics
    linked = {metric.key: metric for metric in model.metrics}
    assert set(linked) >= {name for name in AT_THE_END if name.startswith("test_")}
    assert linked["test_accuracy"].value == run.data.metrics["test_accuracy"]
    assert linked["test_accuracy"].dataset_name == "fashion_mnist"


def test_models_keep_the_registry_contract(finished: Finished) -> None:
    first, second = runs(finished.folder)
    client = finished.client
    for alias, number in (("cnn", "1"), ("cnn-aug", "2")):
        assert str(client.get_model_version_by_alias("fashion_mnist", alias).version) == number
    best = max((first, second), key=lambda run: run.data.metrics["best_val_accuracy"])
    champion = client.get_model_version_by_alias("fashion_mnist", "champion")
    assert champion.run_id == best.info.run_id
    for version, run in (("1", first), ("2", second)):
        tags = client.get_model_version("fashion_mnist", version).tags
        assert tags["trackml.framework"] == "keras"
        assert tags["trackml.architecture"] == run.info.run_name
        assert float(tags["trackml.best_val_accuracy"]) == run.data.metrics["best_val_accuracy"]
        assert tags["trackml.data_sha256"] == load("fashion_mnist").sha256
    signature = mlflow.models.Model.load(str(model_folder(finished))).signature
    assert signature
    assert signature.to_dict() == {
        "inputs": json.dumps(
            [{"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1, 28, 28]}}]
        ),
        "outputs": json.dumps(
            [{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 10]}}]
        ),
        "params": None,
    }


def model_folder(finished: Finished) -> Path:
    version = finished.client.get_model_version_by_alias("fashion_mnist", "champion")
    (file,) = finished.folder.rglob(f"{str(version.source).split('/')[-1]}/artifacts/MLmodel")
    return file.parent


def test_nothing_in_a_model_is_a_pickle(finished: Finished) -> None:
    names = {path.suffix for path in model_folder(finished).rglob("*") if path.is_file()}
    assert names <= {"", ".keras", ".yaml", ".txt"}


LOAD_ELSEWHERE = """
import json, sys
sys.modules["trackml"] = None  # as where it is not installed
import mlflow, numpy as np
model = mlflow.pyfunc.load_model("models:/fashion_mnist@champion")
images = np.load("images.npy")
probabilities = model.predict(images)
np.save("probabilities.npy", probabilities)
"""


def test_the_champion_answers_raw_pixels_without_trackml_and_without_pickle(
    finished: Finished,
) -> None:
    test = load("fashion_mnist").test
    np.save(finished.folder / "images.npy", test.images)
    subprocess.run(
        [sys.executable, "-c", LOAD_ELSEWHERE],
        cwd=finished.folder,
        env=user_environment() | {"PYTHONPATH": "", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
        check=True,
    )
    probabilities = np.load(finished.folder / "probabilities.npy", allow_pickle=False)
    assert probabilities.shape == (10_000, 10)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    version = finished.client.get_model_version_by_alias("fashion_mnist", "champion")
    assert version.run_id
    logged = finished.client.get_run(version.run_id).data.metrics["test_accuracy"]
    assert (probabilities.argmax(axis=1) == test.labels).mean() == pytest.approx(logged, abs=1e-4)


def test_the_augmented_run_is_compared_with_the_plain_one(finished: Finished) -> None:
    plain, augmented = runs(finished.folder)
    assert "figures/comparison.png" not in set(artifacts(finished.client, plain))
    assert "figures/comparison.png" in set(artifacts(finished.client, augmented))
    uri = f"{augmented.info.artifact_uri}/reports/comparison"
    table = mlflow.artifacts.load_text(f"{uri}.md")
    assert f"Compared with run {plain.info.run_id}" in table
    assert "The runs differ in: augment." in table
    values = mlflow.artifacts.load_dict(f"{uri}.json")
    for name in ("test_accuracy", "test_f1_macro", "test_f1_class_6"):
        assert values["cnn"][name] == plain.data.metrics[name]
        assert values["cnn-aug"][name] == augmented.data.metrics[name]


def test_a_person_reads_one_line_per_epoch_and_the_result(finished: Finished) -> None:
    plain, _ = finished.said
    epochs = [line for line in plain.stdout.splitlines() if line.startswith("epoch ")]
    assert len(epochs) == 2
    assert "val_accuracy 0." in epochs[0]
    for words in (
        "test_accuracy",
        "registered fashion_mnist version 1, aliases: cnn, champion",
        "new champion: the first one",
        "mlflow ui",
    ):
        assert words in plain.stdout
    assert "Traceback" not in plain.stderr
    assert plain.stderr == ""


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--epochs", "0"], "error: --epochs 0: expected an integer >= 1"),
        (["--batch_size", "-1"], "error: --batch_size -1: expected an integer >= 1"),
        (["--dropout", "1.5"], "error: --dropout 1.5: expected a number >= 0 and < 1"),
        (["--learning_rate", "nan"], "error: --learning_rate nan: expected a number > 0"),
        (["--rotate", "3"], "error: --rotate: there is no such flag; did you mean --rotation?"),
        (["--validation_split", "1"], "error: --validation_split 1: expected a number > 0 and < 1"),
        (["--validation_split", "1e-9"], "error: --validation_split 1e-09: of 60,000 rows"),
    ],
)
def test_bad_input_is_refused_before_anything_is_made(
    flags: list[str], line: str, tmp_path: Path
) -> None:
    result = start("pipelines.fashion", *flags, folder=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_not_a_number_fails_the_run_and_registers_nothing(tmp_path: Path) -> None:
    result = start("pipelines.fashion", *SHORT, "--learning_rate", "1e10", folder=tmp_path)
    assert result.returncode == 1
    assert "is nan in epoch 1" in result.stderr
    (run,) = runs(tmp_path)
    assert run.info.status == "FAILED"
    assert "epoch 1" in run.data.tags["trackml.failure"]
    assert not read(tmp_path).search_registered_models()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_mid_training_leaves_the_run_killed(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.fashion", "--epochs", "500", "--limit", "2000"],
        cwd=tmp_path,
        env=user_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    process.stdout.readline()  # the first epoch is done
    time.sleep(0.3)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert errors.count("\n") == 1
    (run,) = runs(tmp_path)
    assert run.info.status == "KILLED"


def test_ctrl_c_in_mlflow_run_is_told_from_a_failure(tmp_path: Path) -> None:
    """The terminal signals all processes, and MLflow then signals its child again.

    The status is MLflow's last word, FAILED for all that did not end well; the tag is ours.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "run", str(ROOT), "-e", "fashion"]
        + ["--env-manager", "local", "-P", "epochs=500", "-P", "limit=2000"],
        cwd=tmp_path,
        env=user_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    assert any(line.startswith("epoch") for line in process.stdout)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    (run,) = runs(tmp_path)
    assert run.info.status in {"KILLED", "FAILED"}
    assert run.data.tags["trackml.failure"] == "stopped by a signal"


@pytest.fixture
def silent_proxy() -> Iterator[str]:
    """The address of something that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_with_nothing_reachable_it_ends_within_10_seconds_and_says_what_to_do(
    tmp_path: Path, silent_proxy: str
) -> None:
    proxies = dict.fromkeys(
        ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), silent_proxy
    )
    cache = tmp_path / "cache"
    started = time.monotonic()
    result = start(
        "pipelines.fashion", folder=tmp_path, TRACKML_DATA_DIR=str(cache), no_proxy="", **proxies
    )
    assert time.monotonic() - started < 10
    assert result.returncode == 1
    error = result.stderr.splitlines()[-1]
    assert error.startswith("error: fashion_mnist: nobody delivered it")
    assert f"Put into {cache / 'fashion_mnist'}: train-images-idx3-ubyte or" in error
    assert not (tmp_path / "mlflow.db").exists()


def test_help_is_there_at_once(tmp_path: Path) -> None:
    started = time.monotonic()
    result = start("pipelines.fashion", "--help", folder=tmp_path)
    assert time.monotonic() - started < 1.5
    assert "largest rotation, degrees [a number >= 0 and <= 180] (default: 10.0)" in " ".join(
        result.stdout.split()
    )


def test_four_starts_at_once_in_an_empty_folder_share_one_database(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "pipelines.fashion", "--epochs", "1", "--limit", "500"]
            + ["--seed", str(seed)],
            cwd=tmp_path,
            env=user_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in range(4)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    finished = runs(tmp_path)
    assert [run.info.status for run in finished] == ["FINISHED"] * 4
    assert len({run.info.experiment_id for run in finished}) == 1
    client = read(tmp_path)
    champion = client.get_model_version_by_alias("fashion_mnist", "champion")
    best = max(finished, key=lambda run: run.data.metrics["best_val_accuracy"])
    held = client.get_run(str(champion.run_id)).data.metrics["best_val_accuracy"]
    assert held == best.data.metrics["best_val_accuracy"]


def test_mlflow_run_works_from_another_folder_with_its_own_text_of_a_number(tmp_path: Path) -> None:
    result = start(
        *("mlflow", "run", str(ROOT), "-e", "fashion", "--env-manager", "local"),
        *("-P", "learning_rate=1e-3", "-P", "epochs=1", "-P", "limit=500"),
        folder=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    (run,) = runs(tmp_path)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "cnn")
    assert run.data.params["learning_rate"] == "1e-3"
    assert run.data.params["epochs"] == "1"
    assert set(run.data.metrics) == PER_EPOCH | AT_THE_END


# Parameters that an entry point fixes, or that have no effect there.
NOT_TURNED = {"fashion": {"augment", "rotation", "zoom", "shift"}, "fashion_aug": {"augment"}}


@pytest.mark.parametrize("name", list(entry_points()))
def test_mlproject_and_params_have_the_same_names_and_defaults(name: str) -> None:
    entry = entry_points()[name]
    (module,) = re.findall(r"-m (pipelines\.\w+)", entry["command"])
    defaults = import_module(module).Params.parse({}).as_text()
    for parameter, declared in entry["parameters"].items():
        assert str(declared["default"]) == defaults[parameter], parameter
        assert f"--{parameter} {{{parameter}}}" in entry["command"]
    undeclared = set(defaults) - set(entry["parameters"])
    assert undeclared == {"resume"} | NOT_TURNED.get(name, set())
