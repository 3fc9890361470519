"""`compare` as a program, on a store with real runs."""

import csv
import shutil
from pathlib import Path

import mlflow
import pytest

from tests.conftest import Finished, read, runs, start

MODELS = {"CNN": "cnn", "Faster R-CNN": "detector", "AlexNet": "transfer"}


@pytest.fixture
def store(finished: Finished, tmp_path: Path) -> Path:
    """A copy of the database with a finished run of each entry point."""
    shutil.copy(finished.folder / "mlflow.db", tmp_path)
    return tmp_path


def test_it_draws_its_table_from_the_runs(store: Path, finished: Finished) -> None:
    result = start("pipelines.compare", folder=store)
    assert (result.returncode, result.stderr) == (0, "")
    run = runs(store)[-1]
    assert (run.info.status, run.info.run_name) == ("FINISHED", "compare")
    assert run.data.params == {"min_runs": "1"}
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
        assert model in result.stdout
        assert f"{logged.data.metrics['test_accuracy']:.4f}" in result.stdout
    assert "VGG16: no configuration has a finished run; mlflow run" in result.stdout
    assert "transfer -P backbone=vgg16" in result.stdout
    markdown = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/comparison.md")
    assert "| CNN | 1 |" in markdown
    artifacts = {file.path for file in read(store).list_artifacts(run.info.run_id)}
    assert artifacts == {"comparison.csv", "comparison.md", "figures"}


def test_where_nothing_can_be_compared_it_says_what_to_run(store: Path) -> None:
    before = len(runs(store))
    result = start("pipelines.compare", "--min_runs", "2", folder=store)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: nothing to compare: CNN: no configuration has 2")
    assert result.stderr.count("\n") == 1
    assert len(runs(store)) == before


def test_an_empty_store_has_nothing_to_compare(tmp_path: Path) -> None:
    result = start("pipelines.compare", folder=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("error: nothing to compare: CNN: ")
    assert runs(tmp_path) == []
