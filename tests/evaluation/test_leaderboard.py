"""The leaderboard as people read it, from a table that is written down here."""

import csv
import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trackml.evaluation.leaderboard import (
    COLUMNS,
    SHOWN,
    Leaderboard,
    as_rows,
    differences,
    report_leaderboard,
    verdict,
)


def row(rank: int, architecture: str = "cnn", **more: Any) -> dict[str, Any]:
    nan = float("nan")
    return {
        "rank": rank,
        "framework": "torch",
        "architecture": architecture,
        "configuration": json.dumps([{"dropout": 0.3, "epochs": 8.0}, ["sum", "cpu", "float32"]]),
        "n": 3,
        "val_mean": 0.98,
        "val_std": 0.001,
        "test_mean": 0.97,
        "test_n": 3,
        "test_std": 0.002,
        "test_low": 0.965,
        "test_high": 0.975,
        "parameters": 105_866.0,
        "p_value": nan,
        "epoch_seconds": 1.234,
        "model_size_bytes": 1.5e6,
        "prediction_seconds_per_1000": nan,
        "run_id": f"run{rank}",
        "run_ids": f"run{rank}",
        **more,
    }


def configured(**params: Any) -> str:
    return json.dumps([params, ["sum", "cpu", "float32"]])


def test_a_row_says_how_good_how_sure_and_at_what_cost() -> None:
    (cells,) = as_rows(pd.DataFrame([row(1)]))
    assert dict(zip(COLUMNS, cells, strict=True)) == {
        "rank": "1",
        "architecture": "cnn",
        "framework": "torch",
        "n": "3",
        "validation": "0.9800 ± 0.0010",
        "test": "0.9700 ± 0.0020",
        "95 % interval": "0.9650 to 0.9750",
        "against first": "first",
        "parameters": "105,866",
        "s/epoch": "1.23",
        "MB": "1.5",
        "s/1,000": "-",
        "differs in": "",
    }


@pytest.mark.parametrize(
    ("p_value", "words"),
    [(0.05, "within noise"), (0.8, "within noise"), (0.049, "worse (p = 0.049)")],
)
def test_a_difference_is_noise_or_not(p_value: float, words: str) -> None:
    assert verdict(pd.Series(row(2, p_value=p_value))) == words


def test_of_single_runs_nobody_knows() -> None:
    assert verdict(pd.Series(row(2))) == "not known"


def test_a_test_mean_of_fewer_runs_says_of_how_many() -> None:
    (cells,) = as_rows(pd.DataFrame([row(1, test_n=2)]))
    assert "0.9700 ± 0.0020 (n = 2)" in cells


def test_markdown_survives_what_a_parameter_says() -> None:
    odd = [row(1, configuration=configured(a="x|y\nz")), row(2, configuration=configured(a="w"))]
    board = Leaderboard("mnist", "accuracy", pd.DataFrame(odd))
    assert "| a=x\\|y z |\n" in report_leaderboard(board, {}).texts["leaderboard.md"]


def test_configurations_are_told_apart_by_what_differs_within_their_architecture() -> None:
    table = pd.DataFrame(
        [
            row(1, configuration=configured(dropout=0.3, epochs=8.0, model_parameters=7.0)),
            row(2, configuration=configured(dropout=0.5, epochs=8.0, model_parameters=8.0)),
            row(3, "dense", configuration=configured(hidden_units=512.0)),
            row(4, configuration=configured(dropout=0.3, epochs=8.0, schedule="cosine")),
        ]
    )
    assert differences(table) == ["dropout=0.3", "dropout=0.5", "", "dropout=0.3, schedule=cosine"]
    gpu = json.dumps([{"dropout": 0.3}, ["sum", "cuda", "float32"]])
    table = pd.DataFrame([row(1, configuration=configured(dropout=0.3)), row(2, configuration=gpu)])
    assert differences(table) == ["device=cpu", "device=cuda"]


def test_the_report_has_all_configurations_and_shows_the_first() -> None:
    table = pd.DataFrame([row(rank) for rank in range(1, SHOWN + 4)])
    board = Leaderboard("mnist", "accuracy", table, ["runs left out: 2, for a reason"])
    report = report_leaderboard(board, {1: {0: 0.1, 1: 0.8, 2: 0.9}, 2: {}})
    assert len(list(csv.DictReader(io.StringIO(report.texts["leaderboard.csv"])))) == SHOWN + 3
    markdown = report.texts["leaderboard.md"]
    assert markdown.startswith("# mnist, by accuracy on validation\n")
    assert markdown.count("| cnn | torch |") == SHOWN
    assert "- 3 more configurations are in leaderboard.csv\n" in markdown
    assert "- runs left out: 2, for a reason\n" in markdown
    assert set(report.figures) == {
        f"figures/{name}.png" for name in ("ranking", "learning_curves", "cost")
    }
    for figure in report.figures.values():
        png = io.BytesIO()
        figure.savefig(png)
        assert png.getvalue().startswith(b"\x89PNG")


def test_curves_begin_with_the_first_epoch() -> None:
    board = Leaderboard("mnist", "accuracy", pd.DataFrame([row(1)]))
    figure = report_leaderboard(board, {1: {0: 0.1, 1: 0.8, 2: 0.9}}).figures
    (axes,) = figure["figures/learning_curves.png"].axes
    assert np.asarray(axes.lines[0].get_xdata()).tolist() == [1, 2]
