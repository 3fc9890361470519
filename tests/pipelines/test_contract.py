"""What every pipeline leaves in MLflow, by the names that other code relies on."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from tests.conftest import ABSENT, Finished, user_environment
from tests.pipelines.expected import EXPECTED, Expected
from trackml.data import ImageData, TableData
from trackml.data.canvases import DetectionData
from trackml.history import HIGHER_IS_BETTER

every_entry_point = pytest.mark.parametrize(("name", "expected"), EXPECTED.items(), ids=EXPECTED)


@every_entry_point
def test_runs_keep_the_tracking_contract(name: str, expected: Expected, finished: Finished) -> None:
    run, data = finished.run(name), expected.data
    assert (run.info.status, run.info.run_name) == ("FINISHED", expected.architecture)
    assert finished.client.get_experiment(run.info.experiment_id).name == expected.task
    assert set(run.data.metrics) == expected.metrics
    for metric in expected.per_epoch:
        history = finished.client.get_metric_history(run.info.run_id, metric)
        untrained = expected.scores_untrained and metric.startswith(("train_", "val_"))
        assert [row.step for row in history] == ([0, 1, 2] if untrained else [1, 2])
    assert set(run.data.params) == set(expected.params.flags()) | expected.more_params | {
        *("model_parameters", "train_samples", "validation_samples", "test_samples")
    }
    assert run.data.params["model_parameters"] == str(expected.model_parameters)
    assert run.data.params["train_samples"] == str(expected.limit)
    assert run.data.params["validation_samples"] == str(len(data.validation))
    assert run.data.params["test_samples"] == str(len(data.test))
    assert run.data.tags["trackml.task"] == expected.task
    assert run.data.tags["trackml.framework"] == expected.framework
    assert run.data.tags["trackml.architecture"] == expected.architecture
    assert run.data.tags["trackml.data_sha256"] == data.sha256
    assert run.data.tags["trackml.version"]
    assert re.fullmatch("#[0-9a-f]{6}", run.data.tags["mlflow.runColor"])
    assert set(finished.artifacts(name)) >= expected.artifacts
    assert run.inputs
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.digest == data.sha256[:36]
    assert data.source in dataset.dataset.source


@every_entry_point
def test_the_history_file_tells_what_the_metrics_tell(
    name: str, expected: Expected, finished: Finished
) -> None:
    run, metric = finished.run(name), expected.metric
    history = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/history.json")
    logged = finished.client.get_metric_history(run.info.run_id, f"val_{metric}")
    rows = [history["initial"]] if expected.scores_untrained else []
    rows += history["epochs"]
    assert [row[f"val_{metric}"] for row in rows] == [row.value for row in logged]
    best = max if HIGHER_IS_BETTER[metric] else min
    assert run.data.metrics[f"best_val_{metric}"] == best(row.value for row in logged if row.step)
    assert history["best_epoch"] == run.data.metrics["best_epoch"]


@every_entry_point
def test_test_metrics_are_linked_to_the_model_and_the_dataset(
    name: str, expected: Expected, finished: Finished
) -> None:
    run = finished.run(name)
    assert run.outputs
    (output,) = run.outputs.model_outputs
    model = finished.client.get_logged_model(output.model_id)
    assert model.metrics
    linked = {metric.key: metric for metric in model.metrics}
    assert set(linked) >= expected.test_metrics
    for metric in expected.test_metrics:
        assert linked[metric].value == run.data.metrics[metric]
        assert linked[metric].dataset_name == expected.task


@every_entry_point
def test_models_keep_the_registry_contract(
    name: str, expected: Expected, finished: Finished
) -> None:
    run = finished.run(name)
    version = finished.client.get_model_version_by_alias(expected.task, expected.architecture)
    assert version.run_id == run.info.run_id
    assert version.tags["trackml.framework"] == expected.framework
    assert version.tags["trackml.architecture"] == expected.architecture
    best = f"best_val_{expected.metric}"
    assert float(version.tags[f"trackml.{best}"]) == run.data.metrics[best]
    assert version.tags["trackml.data_sha256"] == expected.data.sha256
    for alias in expected.aliases:
        held = finished.client.get_model_version_by_alias(expected.task, alias)
        assert held.version == version.version


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("fashion_mnist", ["fashion", "fashion_aug"]),
        ("mnist", ["dense_mnist", "cnn", "transfer", "scratch_mlp"]),
    ],
)
def test_the_champion_is_the_best_whatever_the_frameworks(
    task: str, names: list[str], finished: Finished
) -> None:
    candidates = [finished.run(name) for name in names]
    best = max(candidates, key=lambda run: run.data.metrics["best_val_accuracy"])
    champion = finished.client.get_model_version_by_alias(task, "champion")
    assert champion.run_id == best.info.run_id


@every_entry_point
def test_a_model_is_as_large_as_its_files(
    name: str, expected: Expected, finished: Finished
) -> None:
    folder = finished.model_folder(expected.task, expected.architecture)
    bytes_of_files = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    logged = finished.run(name).data.metrics["model_size_bytes"]
    assert logged == pytest.approx(bytes_of_files, rel=0.01, abs=2_000)  # MLmodel is written again


def test_a_model_of_pytorch_loads_where_there_is_a_gpu_too(finished: Finished) -> None:
    """It was exported on the CPU, and MLflow would look for it on the GPU."""
    code = """
import sys, torch
torch.cuda.is_available = lambda: True
import mlflow, numpy as np
model = mlflow.pyfunc.load_model("models:/mnist@cnn")
print(model.predict(np.zeros((3, 28, 28), np.uint8)).shape)
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=finished.folder,
        env=user_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "(3, 10)\n"


def test_the_graph_of_a_pytorch_model_is_logged(finished: Finished) -> None:
    run = finished.run("cnn")
    source = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/figures/model_graph.gv")
    assert source.startswith("digraph")
    assert "conv2.weight" in source
    drawn = "figures/model_graph.svg" in finished.artifacts("cnn")
    assert drawn is bool(shutil.which("dot"))
    assert ("`dot` is not installed" in finished.said["cnn"].stderr) is not drawn


def tensor(dtype: str, *shape: int, **name: str) -> dict[str, Any]:
    return {"type": "tensor", **name, "tensor-spec": {"dtype": dtype, "shape": [-1, *shape]}}


@every_entry_point
def test_all_versions_of_a_task_share_one_signature(
    name: str, expected: Expected, finished: Finished
) -> None:
    folder = finished.model_folder(expected.task, expected.architecture)
    signature = mlflow.models.Model.load(str(folder)).signature
    data = expected.data
    outputs = [tensor("float32", expected.outputs)]
    match data:
        case TableData():
            inputs = [tensor("float32", 1, name=column) for column in data.columns]
        case ImageData():
            inputs = [tensor("uint8", 28, 28)]
        case DetectionData():
            inputs = [tensor("uint8", -1, -1)]
            kinds = ("long", "float", "float", "float", "float", "long", "float")
            outputs = [
                {"name": name, "type": kind, "required": True}
                for name, kind in zip(DETECTIONS, kinds, strict=True)
            ]
    assert signature
    assert {key: json.loads(value) for key, value in signature.to_dict().items() if value} == {
        "inputs": inputs,
        "outputs": outputs,
    }


@every_entry_point
def test_nothing_in_a_model_is_a_pickle(name: str, expected: Expected, finished: Finished) -> None:
    folder = finished.model_folder(expected.task, expected.architecture)
    suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert suffixes <= {"", ".json", ".keras", ".npz", ".pt2", ".py", ".txt", ".yaml"}
    for archive in folder.rglob("*.npz"):
        with np.load(archive, allow_pickle=False) as weights:
            assert all(weights[name].dtype.kind in "fi" for name in weights.files)
    for archive in folder.rglob("*.pt2"):
        with zipfile.ZipFile(archive) as members:
            assert not {name for name in members.namelist() if name.endswith((".pkl", ".pickle"))}


DETECTIONS = ["image", "x1", "y1", "x2", "y2", "label", "score"]

LOAD_ELSEWHERE = """
address, raw, answers = sys.argv[1:]
import mlflow, numpy as np, pandas as pd
model = mlflow.pyfunc.load_model(address)
inputs = np.load(raw) if raw.endswith(".npy") else pd.read_csv(raw)
np.save(answers, model.predict(inputs))
"""


@every_entry_point
def test_a_model_answers_raw_input_without_trackml_and_without_pickle(
    name: str, expected: Expected, finished: Finished, tmp_path: Path
) -> None:
    data = expected.data
    raw = tmp_path / ("raw.csv" if isinstance(data, TableData) else "raw.npy")
    match data:
        case TableData():
            pd.DataFrame(data.test.features, columns=data.columns).to_csv(raw, index=False)
        case ImageData():
            np.save(raw, data.test.images)
        case DetectionData():
            np.save(raw, data.singles.images)
    address = f"models:/{expected.task}@{expected.architecture}"
    saved = tmp_path / "answers.npy"
    frameworks = {"keras": ["keras", "tensorflow"], "torch": ["torch"]}
    frameworks.pop(expected.framework, None)
    others = [package for packages in frameworks.values() for package in packages]
    if not isinstance(data, DetectionData):
        others.append("torchvision")
    absent = ["trackml", "pipelines", "torchmetrics", "torchviz", "ray", *others]
    subprocess.run(
        [sys.executable, "-c", ABSENT + LOAD_ELSEWHERE]
        + [",".join(absent), address, str(raw), str(saved)],
        cwd=finished.folder,
        env=user_environment() | {"PYTHONPATH": "", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
        check=True,
    )
    answers = np.load(saved, allow_pickle=False)
    if isinstance(data, DetectionData):
        table = pd.DataFrame(answers, columns=DETECTIONS)
        best = table.sort_values("score", ascending=False).drop_duplicates("image")
        right = best["label"].to_numpy() == data.singles.objects.labels[best["image"].astype(int)]
        accuracy = right.sum() / len(data.singles)
        assert accuracy == pytest.approx(finished.run(name).data.metrics["test_accuracy"], abs=1e-4)
        return
    assert (answers.shape, answers.dtype) == ((len(data.test), expected.outputs), np.float32)
    logged = finished.run(name).data.metrics
    if isinstance(data, TableData):
        errors = np.abs(answers[:, 0] - data.test.target)
        assert errors.mean() == pytest.approx(logged["test_mae"], abs=1e-4)
    else:
        np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)
        right = answers.argmax(axis=1) == data.test.labels
        assert right.mean() == pytest.approx(logged["test_accuracy"], abs=1e-4)


@pytest.mark.parametrize(
    ("load", "aliases"),
    [
        ("trackml.load('mnist', alias)", ("dense", "cnn")),
        ("trackml.load('mnist', alias)", ("cnn", "dense")),
        ("mlflow.pyfunc.load_model(f'models:/mnist@{alias}')", ("cnn", "dense")),
    ],
)
def test_models_of_keras_and_pytorch_share_a_program(
    load: str, aliases: tuple[str, str], finished: Finished
) -> None:
    program = (
        "import mlflow, numpy as np, trackml\n"
        f"models = [{load} for alias in {aliases}]\n"
        "for model in models:\n"
        "    print(model.predict(np.zeros((2, 28, 28), np.uint8)).shape)\n"
        "import torch\n"
        "torch.optim.Adam([torch.zeros(1)])\n"  # imports Triton too, where it finds it
    )
    said = subprocess.run(
        [sys.executable, "-c", program],
        cwd=finished.folder,
        env=user_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.count("(2, 10)") == 2


@every_entry_point
def test_a_person_reads_one_line_per_epoch_and_the_result(
    name: str, expected: Expected, finished: Finished
) -> None:
    said = finished.said[name]
    epochs = [line for line in said.stdout.splitlines() if line.startswith("epoch ")]
    if expected.scores_untrained:
        assert epochs.pop(0).startswith("epoch 0/2  train_loss 2.")
    assert len(epochs) == 2
    for split in ("train", "val"):
        assert f"{split}_loss " in epochs[0]
        trained = split == "val" or expected.trains_metric
        assert (f"{split}_{expected.metric} 0." in epochs[0]) is trained
    for words in (
        f"{expected.task}: {expected.architecture}",
        f"test_{expected.metric}",
        f"registered {expected.task} version",
        f"aliases: {expected.architecture}",
        "champion: ",
        "mlflow ui",
    ):
        assert words in said.stdout
    assert re.fullmatch(expected.lines, said.stderr)
