"""Models side by side, from runs that are written down here."""

import io

import pandas as pd
import pytest

from trackml.evaluation.models import Comparison, as_rows, report_comparison, side_by_side

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
