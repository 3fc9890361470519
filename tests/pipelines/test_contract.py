"""What every pipeline leaves in MLflow, by the names that other code relies on."""

import json
import re
import shutil
import sys
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from tests.conftest import ABSENT, Finished, execute
from tests.pipelines.expected import BOOKKEEPING, EXPECTED, Expected
from trackml.data import ImageData, TableData
from trackml.data.canvases import DetectionData
from trackml.frameworks import torch as tk


@dataclass(frozen=True)
class Case:
    """An entry point, and what it has left in a store."""

    name: str
    expected: Expected
    finished: Finished
    run: Run

    @property
    def client(self) -> MlflowClient:
        return self.finished.client

    @property
    def model_folder(self) -> Path:
        return self.finished.model_folder(self.expected.task, self.expected.architecture)


@pytest.fixture(params=EXPECTED)
def case(request: pytest.FixtureRequest, finished: Finished) -> Case:
    return Case(request.param, EXPECTED[request.param], finished, finished.run(request.param))


def test_runs_keep_the_tracking_contract(case: Case) -> None:
    run, expected, data = case.run, case.expected, case.expected.data
    assert run.info.status == "FINISHED"
    assert str(run.info.run_name).split()[0] == expected.architecture
    assert case.client.get_experiment(run.info.experiment_id).name == expected.task
    assert set(run.data.metrics) == expected.metrics
    for metric in expected.per_epoch:
        history = case.client.get_metric_history(run.info.run_id, metric)
        is_score = metric.startswith(("train_", "val_"))
        steps = [step for step in expected.steps if step or is_score or expected.rows == "fit"]
        assert [row.step for row in history] == steps
    counts = {
        "model_parameters": expected.model_parameters,
        "train_samples": expected.limit,
        "validation_samples": len(data.validation),
        "test_samples": len(data.test),
    }
    with_effect = {*expected.params.flags()} - BOOKKEEPING - {*expected.without_effect.split()}
    assert set(run.data.params) == with_effect | {*expected.more_params, *counts}
    assert {f"trackml.{name}" for name in BOOKKEEPING} <= set(run.data.tags)
    for name, count in counts.items():
        assert run.data.params[name] == str(count)
    tags = {
        "trackml.task": expected.task,
        "trackml.framework": expected.framework,
        "trackml.architecture": expected.architecture,
        "trackml.data_sha256": data.sha256,
    }
    assert run.data.tags.items() >= tags.items()
    assert run.data.tags["trackml.version"]
    assert re.fullmatch("#[0-9a-f]{6}", run.data.tags["mlflow.runColor"])
    assert case.finished.artifacts(case.name) >= expected.artifacts
    assert run.inputs
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.digest == data.sha256[:36]
    assert data.source in dataset.dataset.source


def test_the_history_file_tells_what_the_metrics_tell(case: Case) -> None:
    metric, metrics = case.expected.metric, case.run.data.metrics
    history = mlflow.artifacts.load_dict(f"{case.run.info.artifact_uri}/history.json")
    logged = case.client.get_metric_history(case.run.info.run_id, f"val_{metric}")
    rows = [history["initial"]] if case.expected.scores_untrained else []
    rows += history["epochs"]
    assert [row[f"val_{metric}"] for row in rows] == [row.value for row in logged]
    ranking = case.expected.rank_by or metric
    best = max(history["epochs"], key=lambda row: ranking.signed(row[f"val_{ranking}"]))
    assert metrics[f"best_val_{metric}"] == best[f"val_{metric}"]
    assert history.get("best_epoch") == metrics.get("best_epoch")


def test_test_metrics_are_linked_to_the_model_and_the_dataset(case: Case) -> None:
    assert case.run.outputs
    (output,) = case.run.outputs.model_outputs
    model = case.client.get_logged_model(output.model_id)
    assert model.metrics
    linked = {metric.key: metric for metric in model.metrics}
    assert set(linked) >= case.expected.test_metrics
    for metric in case.expected.test_metrics:
        assert linked[metric].value == case.run.data.metrics[metric]
        assert linked[metric].dataset_name == case.expected.task


def test_models_keep_the_registry_contract(case: Case) -> None:
    expected, best = case.expected, f"best_val_{case.expected.metric}"
    version = case.client.get_model_version_by_alias(expected.task, expected.architecture)
    assert version.run_id == case.run.info.run_id
    assert version.tags["trackml.framework"] == expected.framework
    assert version.tags["trackml.architecture"] == expected.architecture
    assert float(version.tags[f"trackml.{best}"]) == case.run.data.metrics[best]
    assert version.tags["trackml.data_sha256"] == expected.data.sha256
    for alias in expected.aliases:
        held = case.client.get_model_version_by_alias(expected.task, alias)
        assert held.version == version.version


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("fashion_mnist", ["fashion", "fashion_aug"]),
        ("mnist", ["dense_mnist", "cnn", "cnn_best", "transfer", "scratch_mlp", "mnist_sklearn"]),
        ("california_housing", ["housing", "housing_trees"]),
    ],
)
def test_the_champion_is_the_best_whatever_the_frameworks(
    task: str, names: list[str], finished: Finished
) -> None:
    candidates, metric = [finished.run(name) for name in names], EXPECTED[names[0]].metric
    score = f"best_val_{metric}"
    best = max(candidates, key=lambda run: metric.signed(run.data.metrics[score]))
    champion = finished.client.get_model_version_by_alias(task, "champion")
    assert champion.run_id == best.info.run_id


def test_a_model_is_as_large_as_its_files(case: Case) -> None:
    files = [file for file in case.model_folder.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    logged = case.run.data.metrics["model_size_bytes"]
    assert logged == pytest.approx(size, rel=0.01, abs=2_000)  # MLmodel is written again


def test_a_model_of_pytorch_loads_where_there_is_a_gpu_too(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was exported on the CPU, and MLflow would look for it on the GPU."""
    monkeypatch.setattr(tk.torch.cuda, "is_available", lambda: True)
    model = mlflow.pyfunc.load_model(str(finished.model_folder("mnist", "cnn")))
    assert np.shape(model.predict(np.zeros((3, 28, 28), np.uint8))) == (3, 10)


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


def test_all_versions_of_a_task_share_one_signature(case: Case) -> None:
    signature = mlflow.models.Model.load(str(case.model_folder)).signature
    outputs = [tensor("float32", case.expected.outputs)]
    match data := case.expected.data:
        case TableData():
            inputs = [tensor("float32", 1, name=column) for column in data.columns]
        case ImageData():
            inputs = [tensor("uint8", 28, 28)]
        case DetectionData():
            inputs = [tensor("uint8", -1, -1)]
            kinds = ("long", "float", "float", "float", "float", "long", "float")
            pairs = zip(DETECTIONS, kinds, strict=True)
            outputs = [{"name": name, "type": kind, "required": True} for name, kind in pairs]
    assert signature
    told = {key: json.loads(value) for key, value in signature.to_dict().items() if value}
    assert told == {"inputs": inputs, "outputs": outputs}


def test_nothing_in_a_model_is_a_pickle(case: Case) -> None:
    suffixes = {path.suffix for path in case.model_folder.rglob("*") if path.is_file()}
    assert suffixes <= {"", ".json", ".keras", ".npz", ".pt2", ".py", ".skops", ".txt", ".yaml"}
    for archive in case.model_folder.rglob("*.npz"):
        with np.load(archive, allow_pickle=False) as weights:
            assert all(weights[name].dtype.kind in "fi" for name in weights.files)
    for archive in (*case.model_folder.rglob("*.pt2"), *case.model_folder.rglob("*.skops")):
        with zipfile.ZipFile(archive) as members:
            assert not {name for name in members.namelist() if name.endswith((".pkl", ".pickle"))}


DETECTIONS = ["image", "x1", "y1", "x2", "y2", "label", "score"]

ANSWER = """
import mlflow, numpy as np, pandas as pd
for address, file in zip(sys.argv[1::2], sys.argv[2::2]):
    model, raw = mlflow.pyfunc.load_model(address), np.load(file + ".npz")
    table = [pd.DataFrame(raw["inputs"], columns=raw["columns"])] if len(raw["columns"]) else []
    model.predict(model.input_example)
    parts = table or np.array_split(raw["inputs"], raw["parts"])
    np.save(file, np.concatenate([model.predict(part) for part in parts]))
"""


def absent(expected: Expected) -> str:
    """The packages that nobody needs to load a model."""
    frameworks = {"keras": "keras,tensorflow", "torch": "torch", "sklearn": "sklearn,skops"}
    frameworks.pop(expected.framework, None)
    vision = [] if expected.task == "mnist_detector" else ["torchvision"]
    others = [*frameworks.values(), *vision]
    return ",".join(["trackml", "pipelines", "torchmetrics", "torchviz", "ray", *others])


@pytest.fixture(scope="module")
def answers(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NAME.npy: what an entry point's model answers to all test inputs, in another program.

    Models that need the same packages share one.
    """
    folder, programs = tmp_path_factory.mktemp("answers"), defaultdict[str, list[str]](list)
    for name, expected in EXPECTED.items():
        data = expected.data
        inputs = data.singles.images if isinstance(data, DetectionData) else data.test.arrays[0]
        parts = 1 if isinstance(data, DetectionData) else 10
        np.savez(folder / name, inputs=inputs, columns=getattr(data, "columns", ()), parts=parts)
        address = f"models:/{expected.task}@{expected.architecture}"
        programs[absent(expected)] += [address, str(folder / name)]
    shell = {"PYTHONPATH": "", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    for without, arguments in programs.items():
        program = (sys.executable, "-c", ABSENT + ANSWER, without)
        said = execute(*program, *arguments, folder=finished.folder, **shell)
        assert said.returncode == 0, said.stderr
    return folder


def test_a_model_answers_raw_input_without_trackml_and_without_pickle(
    case: Case, answers: Path
) -> None:
    given: Any = np.load(answers / f"{case.name}.npy", allow_pickle=False)
    logged, expected = case.run.data.metrics, case.expected
    match data := expected.data:
        case DetectionData():
            table = pd.DataFrame(given, columns=DETECTIONS)
            best = table.sort_values("score", ascending=False).drop_duplicates("image")
            true = data.singles.objects.labels[best["image"].astype(int)]
            accuracy = (best["label"].to_numpy() == true).sum() / len(data.singles)
            assert accuracy == pytest.approx(logged["test_accuracy"], abs=1e-4)
            return
        case TableData():
            errors = np.abs(given[:, 0] - data.test.target)
            assert errors.mean() == pytest.approx(logged["test_mae"], abs=1e-4)
        case ImageData():
            np.testing.assert_allclose(given.sum(axis=1), 1, rtol=1e-5)
            right = given.argmax(axis=1) == data.test.labels
            assert right.mean() == pytest.approx(logged["test_accuracy"], abs=1e-4)
    assert (given.shape, given.dtype) == ((len(data.test), expected.outputs), np.float32)


@pytest.mark.parametrize(
    ("load", "aliases"),
    [
        ("trackml.load('mnist', alias)", ("dense", "cnn")),
        pytest.param(
            "mlflow.pyfunc.load_model(f'models:/mnist@{alias}')",
            ("cnn", "dense"),
            marks=pytest.mark.slow,
        ),
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
    said = execute(sys.executable, "-c", program, folder=finished.folder)
    assert (said.returncode, said.stdout.count("(2, 10)")) == (0, 2), said.stderr


def test_a_person_reads_one_line_per_epoch_and_the_result(case: Case) -> None:
    said, expected = case.finished.said[case.name], case.expected
    lines = said.stdout.splitlines()
    epochs = [line for line in lines if line.startswith(f"{expected.rows} ") and "val_" in line]
    assert len(epochs) == len(expected.steps)
    if expected.scores_untrained:
        assert epochs.pop(0).startswith("epoch 0/2  train_loss 2.")
    for score in ("train_loss ", "val_loss ", f"val_{expected.metric} 0."):
        assert score in epochs[0]
    for words in (
        f"{expected.task}: {expected.architecture}",
        f"test_{expected.metric}",
        f"registered {expected.task} version",
        f"aliases: {expected.architecture}",
        "champion: ",
        "see it   trackml ui\n",
        "to compare runs:\n  trackml ui\n",
        f'= trackml.load("{expected.task}"',
        *("program  ", "data     ", "run      ", "model    ", "device   cpu"),
    ):
        assert words in said.stdout
    assert max(map(len, lines)) <= 80
    assert re.fullmatch(expected.lines, said.stderr)
