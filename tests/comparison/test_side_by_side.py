"""Models side by side, from runs that are written down here."""

import io
import json

import pandas as pd
import pytest

from tests.evaluation.drawing import drawn, text_of
from trackml.comparison.side_by_side import compare_architectures, compare_models, report_models
from trackml.evaluation.report import Table

MODELS = {"cnn": ("CNN", "mlflow run . -e cnn"), "faster-rcnn": ("Faster R-CNN", "train it")}
COLUMNS = (
    *("run_id", "framework", "architecture", "rows", "validation_samples", "seed"),
    "configuration",
)


def run(architecture: str, seed: int, **more: object) -> dict[str, object]:
    return {
        "run_id": f"{architecture}-{seed}",
        "framework": "torch",
        "architecture": architecture,
        "rows": "usual",
        "validation_samples": 6_000,
        "seed": str(seed),
        "configuration": "a",
        "parameters": 400_000.0,
        "best_val_accuracy": 0.9,
        "test_accuracy": 0.9,
        "test_f1_macro": 0.9,
        "train_loss": 0.1,
        "train_accuracy": 0.9,
        "best_epoch": 1.0,
        "epoch_seconds": 2.0,
        **more,
    }


def compared(
    digits: list[dict[str, object]], canvases: list[dict[str, object]], min_runs: int = 1
) -> Table | None:
    runs = [pd.DataFrame(rows, columns=None if rows else COLUMNS) for rows in (digits, canvases)]
    return compare_models(runs, MODELS, min_runs, lambda best: best.assign(seconds=1234.5))


@pytest.fixture
def table() -> Table:
    return example()


def example() -> Table:
    scores = {"train_loss": 0.2, "train_accuracy": 0.96, "test_accuracy": 0.97}
    digits = [run("cnn", 0, **scores), run("cnn", 1), run("dense", 0, framework="keras")]
    detector = run("faster-rcnn", 0, best_val_map=0.8, parameters=14_848_842.0)
    both = compared(digits, [{**detector, "best_val_accuracy": float("nan")}])
    assert both
    return both


def test_models_of_both_tasks_have_a_row_each_in_the_order_of_their_names(table: Table) -> None:
    assert table.rows == [
        [
            *("CNN", "2", "0.1500 ± 0.0707", "0.9300 ± 0.0424", "0.9350 ± 0.0495"),
            *("0.9000 ± 0.0000", "1,234", "400,000"),
        ],
        ["Faster R-CNN", "1", "0.1000", "0.9000", "0.9000", "0.9000", "1,234", "14,848,842"],
    ]
    assert table.data["run_ids"].tolist() == ["cnn-0 cnn-1", "faster-rcnn-0"]
    assert table.notes == []


def test_the_report_has_csv_markdown_and_a_figure(table: Table) -> None:
    report = report_models(table)
    markdown = text_of(report, "comparison.md")
    assert markdown.startswith("| model | n | train loss | train accuracy | test accuracy |")
    assert "| CNN | 2 | 0.1500 ± 0.0707 |" in markdown
    assert "- CNN: run cnn-0 cnn-1\n" in markdown
    read = pd.read_csv(io.StringIO(text_of(report, "comparison.csv")))
    scores = ["train_loss", "train_accuracy", "test_accuracy", "test_f1_macro", "seconds"]
    assert list(read) == [
        *("model", "n", *(f"{name}_{part}" for name in scores for part in ("mean", "std"))),
        *("parameters", "run_ids"),
    ]
    assert read["test_accuracy_mean"].tolist() == pytest.approx([0.935, 0.9])
    assert drawn(report) == {"comparison"}


def test_notes_name_the_runs_left_out_and_the_models_without_a_run() -> None:
    easy = {"rows": "few", "validation_samples": 60, "best_val_accuracy": 1.0}
    table = compared([run("cnn", 0), run("cnn", 5, **easy), run("cnn", 6, **easy)], [])
    assert table
    assert table.data["run_ids"].tolist() == ["cnn-0"]
    assert table.notes == [
        "CNN: 2 of its runs left out, validated on other rows",
        "Faster R-CNN: no configuration has a finished run; train it makes one",
    ]
    assert f"- {table.notes[1]}\n" in text_of(report_models(table), "comparison.md")


@pytest.mark.parametrize(
    ("runs", "min_runs"),
    [
        ([], 1),
        ([run("dense", 0, framework="keras")], 1),
        ([run("cnn", 0, framework="keras")], 1),
        ([run("cnn", 0, test_f1_macro=float("nan"))], 1),
        ([{key: value for key, value in run("cnn", 0).items() if key != "train_loss"}], 1),
        ([run("cnn", 0)], 2),
    ],
)
def test_without_enough_complete_runs_there_is_no_table(
    runs: list[dict[str, object]], min_runs: int
) -> None:
    assert compared(runs, [], min_runs) is None


def test_two_architectures_are_compared_by_their_difference() -> None:
    metrics = {"cnn": {"acc": 0.9, "other": 1.0}, "cnn-aug": {"acc": 0.875}}
    report = compare_architectures(metrics, ["acc"], ["One run each."])
    markdown = text_of(report, "reports/comparison.md")
    assert "| acc | 0.9000 | 0.8750 | -0.0250 |" in markdown
    assert "One run each." in markdown
    assert json.loads(text_of(report, "reports/comparison.json"))["cnn-aug"] == {"acc": 0.875}
    assert drawn(report) == {"comparison"}
