"""Models side by side, from runs that are written down here."""

import io

import pandas as pd
import pytest

from trackml.evaluation.models import (
    Comparison,
    as_rows,
    compare_models,
    report_comparison,
    side_by_side,
)

NAMES = {"cnn": "CNN", "faster-rcnn": "Faster R-CNN", "vgg16": "VGG16"}
RUNS = pd.DataFrame(
    {
        "run_id": ["one", "two", "three"],
        "architecture": ["vgg16", "cnn", "cnn"],
        "train_loss": [0.3, 0.1, 0.2],
        "train_accuracy": [0.9, 0.98, 0.96],
        "test_accuracy": [0.91, 0.99, 0.97],
        "test_f1_macro": [0.9, 0.98, 0.96],
        "seconds": [1234.5, 30.0, 40.0],
        "parameters": [14_848_842, 400_000, 400_000],
    }
)


def test_a_row_per_model_in_the_order_of_the_names() -> None:
    table = side_by_side(RUNS, NAMES)
    assert as_rows(table) == [
        [
            *("CNN", "2", "0.1500 ± 0.0707", "0.9700 ± 0.0141", "0.9800 ± 0.0141"),
            *("0.9700 ± 0.0141", "35", "400,000"),
        ],
        ["VGG16", "1", "0.3000", "0.9000", "0.9100", "0.9000", "1,234", "14,848,842"],
    ]
    assert table["run_ids"].tolist() == ["two three", "one"]


def test_the_report_is_csv_markdown_and_a_figure() -> None:
    table = side_by_side(RUNS, NAMES)
    report = report_comparison(Comparison(table, ["Faster R-CNN: there is no run"]))
    markdown = report.texts["comparison.md"]
    assert markdown.startswith("| model | n | train loss | train accuracy | test accuracy |")
    assert "| CNN | 2 | 0.1500 ± 0.0707 |" in markdown
    assert "- CNN: run two three\n" in markdown
    assert "- Faster R-CNN: there is no run\n" in markdown
    read = pd.read_csv(io.StringIO(report.texts["comparison.csv"]))
    assert read["test_accuracy_mean"].tolist() == pytest.approx([0.98, 0.91])
    png = io.BytesIO()
    report.figures["figures/comparison.png"].savefig(png)
    assert png.getvalue().startswith(b"\x89PNG")


MODELS = {"cnn": ("CNN", "cnn"), "faster-rcnn": ("Faster R-CNN", "detector")}


def finished(architecture: str, seed: int, **more: object) -> dict[str, object]:
    return {
        "run_id": f"{architecture}-{seed}",
        "framework": "torch",
        "architecture": architecture,
        "rows": "usual",
        "validation_samples": 6_000,
        "seed": str(seed),
        "configuration": "a",
        "parameters": 7.0,
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
) -> Comparison | None:
    return compare_models(
        pd.DataFrame(digits),
        pd.DataFrame(canvases),
        MODELS,
        min_runs,
        lambda best: best.assign(seconds=2.0),
    )


def test_models_of_both_tasks_are_side_by_side() -> None:
    detector = finished("faster-rcnn", 0, best_val_map=0.8)
    comparison = compared([finished("cnn", 0), finished("cnn", 1)], [detector])
    assert comparison
    assert comparison.table[["model", "n"]].to_numpy().tolist() == [["CNN", 2], ["Faster R-CNN", 1]]
    assert comparison.missing == []


def test_what_cannot_be_shown_is_said() -> None:
    easy = finished("cnn", 5, rows="few", validation_samples=60, best_val_accuracy=1.0)
    comparison = compared([finished("cnn", 0), easy], [])
    assert comparison
    assert comparison.table["run_ids"].tolist() == ["cnn-0"]
    assert comparison.missing == [
        "Faster R-CNN: no configuration has a finished run; mlflow run . -e detector makes one",
        "CNN: 1 of its runs left out, validated on other rows",
    ]


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [finished("dense", 0, framework="keras")],
        [finished("cnn", 0, framework="keras")],
        [finished("cnn", 0, test_f1_macro=float("nan"))],
        [{key: value for key, value in finished("cnn", 0).items() if key != "train_loss"}],
    ],
)
def test_without_a_run_that_has_all_there_is_no_comparison(runs: list[dict[str, object]]) -> None:
    columns = ["framework", "architecture", "rows", "validation_samples", "configuration", "seed"]
    digits = pd.DataFrame(runs) if runs else pd.DataFrame(columns=columns)
    assert compare_models(digits, digits.iloc[:0], MODELS, 1, lambda best: best) is None


def test_runs_that_were_repeated_too_seldom_do_not_count() -> None:
    assert compared([finished("cnn", 0)], [finished("faster-rcnn", 0)], min_runs=2) is None
