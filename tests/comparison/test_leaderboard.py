"""The leaderboard as people read it, from a ranking that is written down here."""

import csv
import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from tests.evaluation.drawing import drawn, figure_of, text_of, words
from trackml.comparison.leaderboard import (
    MAX_ROWS,
    UNSURE,
    as_table,
    differences,
    report_leaderboard,
    verdict,
)
from trackml.metrics import ACCURACY

NAN = float("nan")


def configured(device: str = "cpu", **params: Any) -> str:
    return json.dumps([params, ["sum", device, "float32"]], sort_keys=True)  # as `run_table` does


def row(rank: int, architecture: str = "cnn", **more: Any) -> dict[str, Any]:
    return {
        "rank": rank,
        "framework": "torch",
        "architecture": architecture,
        "configuration": configured(dropout=0.3, epochs=8.0),
        "n": 3,
        "val_mean": 0.98,
        "val_std": 0.001,
        "test_mean": 0.97,
        "test_n": 3,
        "test_std": 0.002,
        "test_low": 0.965,
        "test_high": 0.975,
        "parameters": 105_866.0,
        "p_value": NAN,
        "epoch_seconds": 1.234,
        "model_size_bytes": 1.5e6,
        "prediction_seconds_per_1000": NAN,
        "run_id": f"run{rank}",
        "run_ids": f"run{rank}",
        **more,
    }


def shown(**more: Any) -> dict[str, str]:
    """The first row, by heading."""
    table = as_table("mnist", pd.DataFrame([row(1, **more)]))
    return dict(zip(table.columns, table.rows[0], strict=True))


def test_a_row_shows_scores_confidence_and_costs() -> None:
    assert shown() == {
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


def test_a_test_mean_of_fewer_runs_shows_their_number() -> None:
    assert shown(test_n=2)["test"] == "0.9700 ± 0.0020 (n = 2)"
    nothing = dict.fromkeys(("test_mean", "test_std", "test_low", "test_high"), NAN)
    untested = shown(test_n=0, **nothing)
    assert (untested["test"], untested["95 % interval"]) == ("-", "-")


@pytest.mark.parametrize(
    ("p_value", "text"),
    [(0.05, "within noise"), (0.8, "within noise"), (0.049, "worse (p = 0.049)"), (NAN, "unknown")],
)
def test_a_difference_is_noise_or_not_or_unknown(p_value: float, text: str) -> None:
    assert verdict(pd.Series(row(2, p_value=p_value))) == text
    table = as_table("mnist", pd.DataFrame([row(1), row(2, p_value=p_value)]))
    assert table.notes == ([UNSURE] if text == "unknown" else [])


def test_configurations_are_told_apart_by_their_differences_within_an_architecture() -> None:
    rows = [
        row(1, configuration=configured(dropout=0.3, epochs=8.0, model_parameters=7.0)),
        row(2, configuration=configured(dropout=0.5, epochs=8.0, model_parameters=8.0)),
        row(3, "dense", configuration=configured(hidden_units=512.0)),
        row(4, configuration=configured(dropout=0.3, epochs=8.0, schedule="cosine")),
    ]
    expected = ["dropout=0.3", "dropout=0.5", "", "dropout=0.3, schedule=cosine"]
    assert differences(pd.DataFrame(rows)) == expected
    plain, turned = configured(augment="false"), configured(augment="true", rotation=10.0, zoom=0.1)
    more = configured(augment="true", rotation=20.0, zoom=0.1)
    rows = [row(n, configuration=text) for n, text in enumerate((plain, turned, more), start=1)]
    own = ["augment=false", "augment=true, rotation=10", "augment=true, rotation=20"]
    assert differences(pd.DataFrame(rows)) == own
    assert differences(pd.DataFrame(rows[:2])) == ["augment=false", "augment=true"]
    rows = [row(n, configuration=configured(device)) for n, device in ((1, "cpu"), (2, "cuda"))]
    assert differences(pd.DataFrame(rows)) == ["device=cpu", "device=cuda"]


VALUES = st.sampled_from([0.1, 0.1000000001, 1e-4, "adam", "sgd", 64.0])
CONFIGURATIONS = st.dictionaries(
    st.sampled_from(["learning_rate", "optimizer", "batch_size", "model_parameters"]), VALUES
)


@settings(max_examples=40)
@given(st.lists(st.tuples(CONFIGURATIONS, st.sampled_from(["keras", "torch"])), min_size=1))
def test_no_two_configurations_have_the_same_differences(
    every: list[tuple[dict[str, Any], str]],
) -> None:
    unique = {(configured(**params), framework) for params, framework in every}
    rows = [
        row(number, configuration=text, framework=framework)
        for number, (text, framework) in enumerate(sorted(unique), start=1)
    ]
    texts = differences(pd.DataFrame(rows))
    assert len({*texts}) == len(rows)
    if len(rows) == 1:
        assert texts == [""]


def test_figures_show_all_differences_in_several_lines() -> None:
    names = [f"a_parameter_with_a_long_name_{n}" for n in range(5)]
    params: dict[str, Any] = dict.fromkeys(names, 0.5)
    rows = [
        row(rank, configuration=configured(**params, dropout=rank / 100)) for rank in range(1, 41)
    ]
    rows[0]["configuration"] = configured(**{**params, names[0]: 0.25})
    report = report_leaderboard(as_table("mnist", pd.DataFrame(rows)), ACCURACY, {})
    figure = figure_of(report, "figures/ranking.png")
    labels = words(figure.axes[0].get_yticklabels())
    assert len(labels) == len({*labels}) == MAX_ROWS
    assert f"{names[0]}=0.25" in labels[0]
    assert f"{names[0]}=0.5" in labels[1]
    assert names[1] not in labels[1]
    assert "dropout=0.02" in labels[1]
    assert figure.get_suptitle().endswith("the first 20 of 40")


def test_points_that_cost_the_same_share_a_label() -> None:
    costs = [(1.0, 0.9), (1.0, 0.901), (1.02, 0.9), (8.0, 0.9), (1.0, 0.6), (900.0, NAN)]
    rows = [row(n, epoch_seconds=s, test_mean=t) for n, (s, t) in enumerate(costs, start=1)]
    report = report_leaderboard(as_table("mnist", pd.DataFrame(rows)), ACCURACY, {})
    axes = figure_of(report, "figures/cost.png").axes[0]
    assert sorted(words(axes.texts)) == ["1-3", "4", "5"]
    costs = [(0.01, 0.9), (0.0108, 0.89), (0.1, 0.6)]  # close where the limits are of these
    rows = [row(n, epoch_seconds=s, test_mean=t) for n, (s, t) in enumerate(costs, start=1)]
    report = report_leaderboard(as_table("mnist", pd.DataFrame(rows)), ACCURACY, {})
    axes = figure_of(report, "figures/cost.png").axes[0]
    assert sorted(words(axes.texts)) == ["1-2", "3"]
    seen = [tick for tick in axes.get_xticks() if 0.01 <= tick <= 0.1]
    assert len(seen) >= 3


def test_the_report_has_all_configurations_and_shows_the_first() -> None:
    ranking = pd.DataFrame([row(rank) for rank in range(1, MAX_ROWS + 4)])
    table = as_table("mnist, by accuracy", ranking, ["runs left out: 2, for a reason"])
    report = report_leaderboard(table, ACCURACY, {1: {0: 0.1, 1: 0.8, 2: 0.9}, 2: {}})
    read = list(csv.DictReader(io.StringIO(text_of(report, "leaderboard.csv"))))
    assert len(read) == MAX_ROWS + 3
    assert list(read[0]) == list(row(1))
    markdown = text_of(report, "leaderboard.md")
    assert markdown.startswith("# mnist, by accuracy\n")
    assert markdown.count("| cnn | torch |") == MAX_ROWS
    assert "- 3 more configurations are in leaderboard.csv\n" in markdown
    assert "- runs left out: 2, for a reason\n" in markdown
    assert drawn(report) == {"ranking", "learning_curves", "cost"}
    (axes,) = figure_of(report, "figures/learning_curves.png").axes
    assert np.asarray(axes.lines[0].get_xdata()).tolist() == [1, 2]  # not the untrained model
