"""`compare` as a program, on a store with real runs."""

import csv
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow
import pytest

from benchmarks.compare import SEEDS, fill
from tests.conftest import Finished, read, runs, start

MODELS = {"CNN": "cnn", "Faster R-CNN": "detector", "AlexNet": "transfer"}


@pytest.fixture
def store(finished: Finished, tmp_path: Path) -> Path:
    """A store with the runs of the finished ones, whose artifacts will be its own."""
    shutil.copy(finished.folder / "mlflow.db", tmp_path)
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
        places = (finished.folder.as_uri(), tmp_path.as_uri())
        change = "UPDATE experiments SET artifact_location = replace(artifact_location, ?, ?)"
        database.execute(change, places)
    return tmp_path


def test_it_draws_its_table_from_the_runs(store: Path, finished: Finished) -> None:
    result = start("pipelines.compare", folder=store)
    assert (result.returncode, result.stderr) == (0, "")
    run = runs(store)[-1]
    assert (run.info.status, run.info.run_name) == ("FINISHED", "compare")
    assert run.data.params == {"task": "mnist", "metric": "auto", "min_runs": "1"}
    text = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/comparison.csv")
    rows = {row["model"]: row for row in csv.DictReader(text.splitlines())}
    assert list(rows) == list(MODELS)
    for model, entry_point in MODELS.items():
        logged = finished.run(entry_point)
        row = rows[model]
        assert row["run_ids"] == logged.info.run_id
        assert row["n"] == "1"
        assert row["parameters"] == logged.data.params["model_parameters"]
        for name in ("test_accuracy", "test_f1_macro"):
            assert float(row[f"{name}_mean"]) == pytest.approx(logged.data.metrics[name])
        history = {
            name: finished.client.get_metric_history(logged.info.run_id, name)
            for name in ("train_loss", "epoch_seconds", "train_accuracy")
        }
        best = int(logged.data.metrics["best_epoch"])
        loss = next(row.value for row in history["train_loss"] if row.step == best)
        assert float(row["train_loss_mean"]) == pytest.approx(loss)
        seconds = sum(row.value for row in history["epoch_seconds"])
        seconds += logged.data.metrics.get("frozen_seconds", 0)
        assert float(row["seconds_mean"]) == pytest.approx(seconds)
        assert 0 < float(row["train_accuracy_mean"]) <= 1
        assert all(word in result.stdout for word in model.split())  # which a cell may break
        assert f"{logged.data.metrics['test_accuracy']:.4f}" in result.stdout
    said = " ".join(result.stdout.split())
    assert "VGG16: no configuration has a finished run; mlflow run" in said
    assert "transfer -P backbone=vgg16" in said
    assert "the best, side by side: a link in the description of the run `compare`" in said
    assert "](#/compare-runs?runs=" in run.data.tags["mlflow.note.content"]
    markdown = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/comparison.md")
    assert "| CNN | 1 |" in markdown
    artifacts = {file.path for file in read(store).list_artifacts(run.info.run_id)}
    assert artifacts == {
        *("comparison.csv", "comparison.md", "leaderboard.csv", "leaderboard.md", "figures")
    }


def test_one_leaderboard_holds_all_frameworks_ranked_by_validation(
    store: Path, finished: Finished
) -> None:
    result = start("pipelines.compare", folder=store)
    run = runs(store)[-1]
    text = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/leaderboard.csv")
    rows = list(csv.DictReader(text.splitlines()))
    assert {row["framework"] for row in rows} == {"keras", "torch", "sklearn", "numpy"}
    entry_points = [
        "cnn",
        "cnn_best",
        "dense_mnist",
        "scratch_mnist",
        "scratch_mlp",
        "transfer",
        "mnist_sklearn",
    ]
    logged = {finished.run(name).info.run_id: finished.run(name) for name in entry_points}
    assert {row["run_id"] for row in rows} == set(logged)
    scores = [logged[row["run_id"]].data.metrics["best_val_accuracy"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    for row in rows:
        metrics = logged[row["run_id"]].data.metrics
        assert float(row["test_mean"]) == pytest.approx(metrics["test_accuracy"])
        for cost in ("epoch_seconds", "model_size_bytes", "prediction_seconds_per_1000"):
            assert float(row[cost]) == pytest.approx(metrics[cost])
        assert row["architecture"] in result.stdout
    figures = {file.path for file in read(store).list_artifacts(run.info.run_id, "figures")}
    assert {f"figures/{name}.png" for name in ("ranking", "learning_curves", "cost")} <= figures


@pytest.mark.parametrize(
    ("task", "metric", "words"),
    [
        ("california_housing", "auto", "california_housing, by mae on validation"),
        ("fashion_mnist", "loss", "fashion_mnist, by loss on validation"),
        ("mnist_detector", "auto", "mnist_detector, by map on validation"),
    ],
)
def test_each_task_has_its_leaderboard(task: str, metric: str, words: str, store: Path) -> None:
    result = start("pipelines.compare", "--task", task, "--metric", metric, folder=store)
    assert (result.returncode, result.stderr) == (0, "")
    assert words in result.stdout
    run = runs(store)[-1]
    assert read(store).get_experiment(run.info.experiment_id).name == task
    artifacts = {file.path for file in read(store).list_artifacts(run.info.run_id)}
    assert artifacts == {"leaderboard.csv", "leaderboard.md", "figures"}


def test_where_nothing_can_be_compared_it_says_what_there_is(store: Path) -> None:
    before = len(runs(store))
    for flags, words in (
        (("--min_runs", "2"), "configurations left out: 7, with fewer than 2 runs"),
        (("--task", "cifar"), "there are no finished runs of cifar"),
        (("--metric", "mae"), "runs left out: 7, without a validation mae"),
    ):
        result = start("pipelines.compare", *flags, folder=store)
        assert result.returncode == 1
        assert re.fullmatch(r"program +compare: [^│]+", result.stdout)
        assert result.stderr.startswith(f"error: nothing to compare: {words}")
        assert "california_housing, fashion_mnist, mnist, mnist_detector\n" in result.stderr
        assert result.stderr.count("\n") == 1
    assert len(runs(store)) == before


def test_an_empty_store_has_nothing_to_compare(store_folder: Path) -> None:
    result = start("pipelines.compare", folder=store_folder)
    assert result.returncode == 1
    assert result.stderr.startswith("error: nothing to compare: ")
    assert result.stderr.endswith("tasks that have runs: none\n")
    assert runs(store_folder) == []


@pytest.mark.slow
def test_it_pages_through_thousands_of_runs(tmp_path: Path) -> None:
    fill(tmp_path, 2_500)
    result = start("pipelines.compare", "--min_runs", str(SEEDS), folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    (run,) = read(tmp_path).search_runs(["1"], "attributes.run_name = 'compare'")
    text = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/leaderboard.csv")
    rows = list(csv.DictReader(text.splitlines()))
    assert [int(row["rank"]) for row in rows] == list(range(1, 2_500 // SEEDS + 1))
    assert {row["n"] for row in rows} == {str(SEEDS)}
    assert "480 more configurations are in leaderboard.csv" in result.stdout
    validation, tested = ([float(row[name]) for row in rows] for name in ("val_mean", "test_mean"))
    assert validation == sorted(validation, reverse=True)
    assert tested == sorted(tested)  # they were made to say the opposite
    assert "side by side" in result.stdout
