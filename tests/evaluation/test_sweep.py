"""What the trials of a sweep say, from trials that are written down here."""

import io
import math
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackml.errors import TrackmlError
from trackml.evaluation.sweep import (
    Findings,
    as_rows,
    best_point,
    columns,
    describe_best,
    importances,
    report_sweep,
    tabulate,
)
from trackml.history import Metric
from trackml.space import Choices, Range, Space, WholeRange
from trackml.trial import Outcome

SPACE: Space = {"rate": Range(1e-4, 1e-1, log=True), "units": Choices((16, 32, 64))}
COMMAND = "mlflow run . -e dense_mnist"
PNG = b"\x89PNG"


def child(name: str, curve: list[float], state: str = "finished", **more: Any) -> dict[str, Any]:
    return {
        "run_id": f"id of {name}",
        "name": name,
        "state": state,
        "is_candidate": True,
        "ended": len(name),
        "val_accuracy": curve,
        "val_mae": curve,
        "val_loss": [1.0 - value for value in curve],
        "epoch_seconds": [2.0] * len(curve),
        **more,
    }


CHILDREN = pd.DataFrame(
    [
        child("rate=0.01 units=32", [0.5, 0.9, 0.8], ended=5),
        child("rate=0.001 units=64", [0.99], "pruned", ended=1),
        child("rate=0.1 units=16", [], "failed", ended=4),
        child("rate=0.002 units=16", [0.5, 0.6, 0.7], ended=2),
        child("rate=0.02 units=16", [0.9, 0.9, 0.1], ended=3, val_loss=[0.5, 0.05, 0.9]),
        child("best rate=0.01 units=32 seed 0", [0.999], is_candidate=False, ended=6),
    ]
)


def tried(metric: Metric = "accuracy") -> pd.DataFrame:
    return tabulate(CHILDREN, SPACE, metric)


def findings(table: pd.DataFrame, space: Space = SPACE) -> Findings:
    return Findings(
        pipeline="dense_mnist",
        metric="accuracy",
        space=space,
        tried=table,
        best=best_point(table, space),
        scored=pd.DataFrame(
            {
                "run_id": ["a", "b"],
                "best_val_accuracy": [0.88, 0.92],
                "test_accuracy": [0.8, 0.84],
            }
        ),
        failed=[Outcome("rate=0.1 units=16", failure="no number")],
    )


def test_the_best_epoch_of_each_trial_ranks_it_and_the_loss_breaks_ties() -> None:
    table = tried()
    assert list(table["trial"]) == [3, 5, 2, 1, 4]
    assert list(table["state"]) == ["finished"] * 3 + ["pruned", "failed"]
    assert list(table["best_val_accuracy"])[:4] == [0.9, 0.9, 0.7, 0.99]
    assert list(table["best_val_loss"])[:2] == [0.05, pytest.approx(0.1)]
    assert list(table["epochs"]) == [3, 3, 3, 1, 0]
    assert list(table["seconds"]) == [6.0, 6.0, 6.0, 2.0, 0.0]
    assert math.isnan(table["best_val_accuracy"].iloc[4])


def test_where_less_is_better_the_least_is_first() -> None:
    assert list(tried("mae")["trial"])[:3] == [3, 2, 5]
    assert list(tried("mae")["best_val_mae"])[:3] == [0.1, 0.5, 0.5]


def test_the_best_point_has_the_types_of_the_space() -> None:
    point = best_point(tried(), SPACE)
    assert point == {"rate": 0.02, "units": 16}
    assert [type(value) for value in point.values()] == [float, int]


@pytest.mark.parametrize("states", [[], ["pruned", "failed"]])
def test_without_a_finished_trial_none_is_the_best(states: list[str]) -> None:
    some = CHILDREN[CHILDREN["state"].isin(states)]
    with pytest.raises(TrackmlError, match="no trial has finished"):
        best_point(tabulate(some, SPACE, "accuracy"), SPACE)


def test_the_report_has_all_trials_the_command_and_the_figures() -> None:
    report = report_sweep(findings(tried()), COMMAND)
    table = pd.read_csv(io.StringIO(report.texts["trials.csv"]))
    assert len(table) == 5
    assert set(table["state"]) == {"finished", "pruned", "failed"}
    assert report.texts["best_command.txt"] == "mlflow run . -e dense_mnist\n"
    page = report.texts["sweep.md"]
    for words in ("rate=0.02 units=16", "- rate=0.1 units=16: no number", "(n = 2)"):
        assert words in page
    assert report.metrics == {"trials_finished": 3, "trials_pruned": 1, "trials_failed": 1}
    assert set(report.figures) == {
        "figures/optimization_history.png",
        "figures/parallel_coordinates.png",
        "figures/parameter_importances.png",
    }
    for figure in report.figures.values():
        file = io.BytesIO()
        figure.savefig(file)
        assert file.getvalue().startswith(PNG)


def test_the_best_is_described_with_n_and_spread() -> None:
    words = describe_best(findings(tried()))
    assert "validation accuracy 0.9000 ± 0.0283, test accuracy 0.8200 ± 0.0283 (n = 2)" in words


def test_of_the_scored_runs_the_best_on_validation_is_chosen() -> None:
    assert findings(tried()).best_run["run_id"] == "b"
    scored = pd.DataFrame({"run_id": ["a", "b"], "best_val_mae": [0.1, 0.2]})
    assert replace(findings(tried()), metric="mae", scored=scored).best_run["run_id"] == "a"


def test_rows_for_people_have_a_cell_for_each_column() -> None:
    shown = findings(tried())
    assert all(len(row) == len(columns(shown)) for row in as_rows(shown))
    assert as_rows(shown)[-1] == ["0.1", "16", "-", "0", "0.0", "failed"]


def many(scores: list[tuple[float, int, float]]) -> pd.DataFrame:
    return pd.DataFrame(
        [child(f"rate={rate:g} units={units}", [score]) for rate, units, score in scores]
    )


def test_what_makes_the_difference_is_important() -> None:
    scores = [(10.0**-e, u, u / 100) for e in (1, 2, 3, 4) for u in (16, 32, 64)]
    shares = importances(tabulate(many(scores), SPACE, "accuracy"), SPACE, "accuracy")
    assert list(shares) == ["units", "rate"]
    assert shares["units"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize("count", [1, 2])
def test_where_all_are_equal_nothing_is_important_and_all_is_drawn(count: int) -> None:
    table = tabulate(many([(0.01, 16, 0.5), (0.02, 16, 0.5)][:count]), SPACE, "accuracy")
    assert importances(table, SPACE, "accuracy") == {}
    for figure in report_sweep(findings(table), COMMAND).figures.values():
        figure.savefig(io.BytesIO())


@settings(max_examples=10)
@given(
    st.lists(
        st.tuples(st.floats(1e-4, 1e-1), st.sampled_from((16, 32, 64)), st.floats(0, 1)),
        min_size=1,
        max_size=12,
        unique_by=lambda trial: f"{trial[0]:g}",
    )
)
def test_whatever_the_trials_are_they_can_be_drawn(scores: list[tuple[float, int, float]]) -> None:
    space: Space = {**SPACE, "depth": WholeRange(1, 4)}
    children = many(scores)
    children["name"] += [f" depth={1 + number % 4}" for number in range(len(children))]
    for figure in report_sweep(
        findings(tabulate(children, space, "accuracy"), space), COMMAND
    ).figures.values():
        figure.savefig(io.BytesIO())
