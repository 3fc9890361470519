"""What every pipeline leaves in MLflow, by the names that other code relies on."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from tests.conftest import PIPELINES, Finished, user_environment
from trackml.data import load

every_pipeline = pytest.mark.parametrize("name", list(PIPELINES))

TASKS = {
    "fashion": "fashion_mnist",
    "fashion_aug": "fashion_mnist",
    "dense_mnist": "mnist",
    "housing": "california_housing",
}
ARCHITECTURES = {
    "fashion": "cnn",
    "fashion_aug": "cnn-aug",
    "dense_mnist": "dense",
    "housing": "dense",
}
MODEL_PARAMETERS = {  # of dense_mnist 784 * 512 + 512 + 512 * 10 + 10
    "fashion": "421642",
    "fashion_aug": "421642",
    "dense_mnist": "407050",
    "housing": "2689",  # 8 * 64 + 64 + 64 * 32 + 32 + 32 + 1
}
FIGURES_OF_CLASSIFIERS = {"confusion_matrix", "per_class_f1", "mistakes", "samples"}
FIGURES_OF_REGRESSIONS = {"predicted_vs_true", "residuals", "error_map", "correlations"}


def metric_of(name: str) -> str:
    return "mae" if name == "housing" else "accuracy"


def per_epoch(name: str) -> set[str]:
    metric = metric_of(name)
    return {
        *("train_loss", "val_loss", f"train_{metric}", f"val_{metric}"),
        *("learning_rate", "epoch_seconds", "samples_per_second"),
    }


def at_the_end(name: str) -> set[str]:
    best = {"best_epoch", "best_val_loss", f"best_val_{metric_of(name)}"}
    if name == "housing":
        return best | {"test_mse", "test_rmse", "test_mae", "test_r2"}
    return best | {
        *("test_loss", "test_accuracy", "test_precision_macro", "test_recall_macro"),
        *("test_f1_macro", *(f"test_f1_class_{c}" for c in range(10))),
    }


def artifacts_of(name: str) -> set[str]:
    common = {"figures/learning_curves.png", "history.json", "model_summary.txt"}
    if name == "housing":
        drawn, reports = FIGURES_OF_REGRESSIONS, {"feature_statistics.csv"}
    else:
        drawn = FIGURES_OF_CLASSIFIERS
        reports = {
            *("classification_report.txt", "classification_report.json", "confusion_matrix.json")
        }
    return (
        common | {f"figures/{figure}.png" for figure in drawn} | {f"reports/{r}" for r in reports}
    )


def data_of(name: str) -> Any:
    return load(TASKS[name], 0.2 if name == "housing" else 0.1)  # type: ignore[call-overload]


@every_pipeline
def test_runs_keep_the_tracking_contract(name: str, finished: Finished) -> None:
    run, data = finished.run(name), data_of(name)
    assert (run.info.status, run.info.run_name) == ("FINISHED", ARCHITECTURES[name])
    assert finished.client.get_experiment(run.info.experiment_id).name == TASKS[name]
    assert set(run.data.metrics) == per_epoch(name) | at_the_end(name)
    for metric in per_epoch(name):
        history = finished.client.get_metric_history(run.info.run_id, metric)
        assert [row.step for row in history] == [1, 2]
    fields = import_module(PIPELINES[name][0]).Params.flags()
    assert set(run.data.params) == set(fields) | {
        *("model_parameters", "train_samples", "validation_samples", "test_samples")
    }
    assert run.data.params["model_parameters"] == MODEL_PARAMETERS[name]
    assert run.data.params["train_samples"] == "3000"
    assert run.data.params["test_samples"] == str(len(data.test))
    assert run.data.tags["trackml.task"] == TASKS[name]
    assert run.data.tags["trackml.framework"] == "keras"
    assert run.data.tags["trackml.architecture"] == ARCHITECTURES[name]
    assert run.data.tags["trackml.data_sha256"] == data.sha256
    assert run.data.tags["trackml.version"]
    assert set(finished.artifacts(name)) >= artifacts_of(name)
    assert run.inputs
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.digest == data.sha256[:36]
    assert data.source in dataset.dataset.source


@every_pipeline
def test_the_history_file_tells_what_the_metrics_tell(name: str, finished: Finished) -> None:
    run, metric = finished.run(name), metric_of(name)
    history = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/history.json")
    logged = finished.client.get_metric_history(run.info.run_id, f"val_{metric}")
    assert [row[f"val_{metric}"] for row in history["epochs"]] == [row.value for row in logged]
    best = min if metric == "mae" else max
    assert run.data.metrics[f"best_val_{metric}"] == best(row.value for row in logged)
    assert history["best_epoch"] == run.data.metrics["best_epoch"]


@every_pipeline
def test_test_metrics_are_linked_to_the_model_and_the_dataset(
    name: str, finished: Finished
) -> None:
    run = finished.run(name)
    assert run.outputs
    (output,) = run.outputs.model_outputs
    model = finished.client.get_logged_model(output.model_id)
    assert model.metrics
    linked = {metric.key: metric for metric in model.metrics}
    tested = {metric for metric in at_the_end(name) if metric.startswith("test_")}
    assert set(linked) >= tested
    for metric in tested:
        assert linked[metric].value == run.data.metrics[metric]
        assert linked[metric].dataset_name == TASKS[name]


@every_pipeline
def test_models_keep_the_registry_contract(name: str, finished: Finished) -> None:
    run, client = finished.run(name), finished.client
    version = client.get_model_version_by_alias(TASKS[name], ARCHITECTURES[name])
    assert version.run_id == run.info.run_id
    assert version.tags["trackml.framework"] == "keras"
    assert version.tags["trackml.architecture"] == ARCHITECTURES[name]
    best = f"best_val_{metric_of(name)}"
    assert float(version.tags[f"trackml.{best}"]) == run.data.metrics[best]
    assert version.tags["trackml.data_sha256"] == data_of(name).sha256


def test_the_champion_of_two_is_the_better_one(finished: Finished) -> None:
    two = [finished.run("fashion"), finished.run("fashion_aug")]
    best = max(two, key=lambda run: run.data.metrics["best_val_accuracy"])
    champion = finished.client.get_model_version_by_alias("fashion_mnist", "champion")
    assert champion.run_id == best.info.run_id


def tensor(dtype: str, *shape: int, **name: str) -> dict[str, Any]:
    return {"type": "tensor", **name, "tensor-spec": {"dtype": dtype, "shape": [-1, *shape]}}


@every_pipeline
def test_all_versions_of_a_task_share_one_signature(name: str, finished: Finished) -> None:
    signature = mlflow.models.Model.load(str(model_folder(finished, name))).signature
    assert signature
    inputs = [tensor("uint8", 28, 28)]
    if name == "housing":
        inputs = [tensor("float32", 1, name=column) for column in data_of(name).columns]
    outputs = 1 if name == "housing" else 10
    assert {key: json.loads(value) for key, value in signature.to_dict().items() if value} == {
        "inputs": inputs,
        "outputs": [tensor("float32", outputs)],
    }


def model_folder(finished: Finished, name: str) -> Path:
    version = finished.client.get_model_version_by_alias(TASKS[name], ARCHITECTURES[name])
    (file,) = finished.folder.rglob(f"{str(version.source).split('/')[-1]}/artifacts/MLmodel")
    return file.parent


@every_pipeline
def test_nothing_in_a_model_is_a_pickle(name: str, finished: Finished) -> None:
    folder = model_folder(finished, name)
    names = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert names <= {"", ".keras", ".yaml", ".txt"}


LOAD_ELSEWHERE = """
import sys
sys.modules["trackml"] = None  # as where it is not installed
import mlflow, numpy as np, pandas as pd
address, raw, answers = sys.argv[1:]
model = mlflow.pyfunc.load_model(address)
inputs = np.load(raw) if raw.endswith(".npy") else pd.read_csv(raw)
np.save(answers, model.predict(inputs))
"""


@every_pipeline
def test_a_model_answers_raw_input_without_trackml_and_without_pickle(
    name: str, finished: Finished, tmp_path: Path
) -> None:
    data = data_of(name)
    if name == "housing":
        raw = tmp_path / "raw.csv"
        pd.DataFrame(data.test.features, columns=data.columns).to_csv(raw, index=False)
    else:
        raw = tmp_path / "raw.npy"
        np.save(raw, data.test.images)
    address, answers = f"models:/{TASKS[name]}@{ARCHITECTURES[name]}", tmp_path / "answers.npy"
    subprocess.run(
        [sys.executable, "-c", LOAD_ELSEWHERE, address, str(raw), str(answers)],
        cwd=finished.folder,
        env=user_environment() | {"PYTHONPATH": "", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
        check=True,
    )
    predictions = np.load(answers, allow_pickle=False)
    logged = finished.run(name).data.metrics
    assert predictions.dtype == np.float32
    if name == "housing":
        assert predictions.shape == (4_128, 1)
        errors = np.abs(predictions[:, 0] - data.test.target)
        assert errors.mean() == pytest.approx(logged["test_mae"], abs=1e-4)
    else:
        assert predictions.shape == (10_000, 10)
        np.testing.assert_allclose(predictions.sum(axis=1), 1, rtol=1e-5)
        right = predictions.argmax(axis=1) == data.test.labels
        assert right.mean() == pytest.approx(logged["test_accuracy"], abs=1e-4)


@every_pipeline
def test_a_person_reads_one_line_per_epoch_and_the_result(name: str, finished: Finished) -> None:
    said, task, architecture = finished.said[name], TASKS[name], ARCHITECTURES[name]
    epochs = [line for line in said.stdout.splitlines() if line.startswith("epoch ")]
    assert len(epochs) == 2
    assert f"val_{metric_of(name)} 0." in epochs[0]
    for words in (
        f"{task}: {architecture}",
        f"test_{metric_of(name)}",
        f"registered {task} version",
        f"aliases: {architecture}",
        "champion: ",
        "mlflow ui",
    ):
        assert words in said.stdout
    assert said.stderr == ""
