"""What sweeps and suites report, from trials that are written down here."""

import io
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from tests.evaluation.drawing import drawn, figure_of, text_of
from tests.sweeps.plans import PLAN
from trackml.errors import TrackmlError
from trackml.metrics import ACCURACY, MAE, Metric
from trackml.sweeps.plan import Plan
from trackml.sweeps.report import (
    SweepReport,
    best_point,
    best_runs,
    importances,
    report_suite,
    report_sweep,
    summarize,
    tabulate,
)
from trackml.sweeps.worker import Outcome

FAILED = [Outcome("rate=0.1 units=16", failure="no number")]


def child(name: str, curve: list[float], state: str = "finished", **more: Any) -> dict[str, Any]:
    run = {"run_id": f"id of {name}", "name": name, "state": state, "is_candidate": True}
    losses, seconds = [1.0 - value for value in curve], [2.0] * len(curve)
    curves = {"val_accuracy": curve, "val_mae": curve, "val_loss": losses, "epoch_seconds": seconds}
    return {**run, **curves, "ended": 1, **more}


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
TRIED = tabulate(CHILDREN, PLAN)


def report(table: pd.DataFrame, plan: Plan = PLAN) -> SweepReport:
    scores = {f"best_val_{plan.metric}": [0.88, 0.92], f"test_{plan.metric}": [0.8, 0.84]}
    repeats = pd.DataFrame({"run_id": ["a", "b"], "seed": ["0", "1"], **scores})
    return report_sweep(plan, table, repeats, FAILED)


def test_the_best_epoch_of_each_trial_ranks_it_and_the_loss_breaks_ties() -> None:
    assert list(TRIED["trial"]) == [3, 5, 2, 1, 4]
    assert list(TRIED["state"]) == ["finished"] * 3 + ["pruned", "failed"]
    assert list(TRIED["best_val_accuracy"])[:4] == [0.9, 0.9, 0.7, 0.99]
    assert list(TRIED["best_val_loss"])[:2] == [0.05, pytest.approx(0.1)]
    assert list(TRIED["epochs"]) == [3, 3, 3, 1, 0]
    assert list(TRIED["seconds"]) == [6.0, 6.0, 6.0, 2.0, 0.0]
    assert math.isnan(TRIED["best_val_accuracy"].iloc[4])
    assert best_point(TRIED, PLAN) == {"rate": 0.02, "units": 16}
    assert [type(value) for value in best_point(TRIED, PLAN).values()] == [float, int]


def test_a_lower_score_is_first_where_lower_is_better() -> None:
    table = tabulate(CHILDREN, replace(PLAN, metric=MAE))
    assert list(table["trial"])[:3] == [3, 2, 5]
    assert list(table["best_val_mae"])[:3] == [0.1, 0.5, 0.5]


@pytest.mark.parametrize(
    "children",
    [CHILDREN[CHILDREN["state"] != "finished"], pd.DataFrame(columns=CHILDREN.columns)],
)
def test_without_a_finished_trial_none_is_the_best(children: pd.DataFrame) -> None:
    with pytest.raises(TrackmlError, match="no trial has finished"):
        best_point(tabulate(children, PLAN), PLAN)


def test_a_sweep_has_all_trials_the_command_and_the_figures() -> None:
    sweep = report(TRIED)
    assert len(pd.read_csv(io.StringIO(text_of(sweep, "trials.csv")))) == 5
    flags = "-P epochs=2 -P limit=0 -P seed=1 -P rate=0.02 -P units=16"
    assert text_of(sweep, "best_command.txt") == f"mlflow run . -e dense_mnist {flags}\n"
    page = text_of(sweep, "sweep.md")
    scores = "validation accuracy 0.9000 ± 0.0283, test accuracy 0.8200 ± 0.0283 (n = 2)"
    assert f"rate=0.02 units=16; run again: {scores}.\n" in page
    assert "| 0.1 | 16 | - | 0 | 0.0 | failed |" in page
    assert "- failed: rate=0.1 units=16: no number\n" in page
    assert page.endswith(f"\n\n    {sweep.command}\n")
    counts = {"trials_finished": 3, "trials_pruned": 1, "trials_failed": 1}
    scored = {"best_val_accuracy": pytest.approx(0.9), "test_accuracy": pytest.approx(0.82)}
    assert sweep.metrics == counts | scored
    assert sweep.best == {"rate": "0.02", "units": "16"}
    names = {"optimization_history", "parallel_coordinates", "parameter_importances"}
    assert drawn(sweep) == names


@pytest.mark.parametrize(("metric", "best"), [(ACCURACY, "b"), (MAE, "a")])
def test_the_best_of_the_repeated_runs_on_validation_is_chosen(metric: Metric, best: str) -> None:
    plan = replace(PLAN, metric=metric)
    assert report(tabulate(CHILDREN, plan), plan).best_runs == [best]


def many(scores: list[tuple[float, int, float]], plan: Plan = PLAN) -> pd.DataFrame:
    points = [{"rate": rate, "units": units} for rate, units, _ in scores]
    names = [plan.trial(point).name for point in points]
    curves = [[score] for _, _, score in scores]
    return tabulate(pd.DataFrame(map(child, names, curves)), plan)


def test_equal_scores_are_one_tick_without_a_color_bar() -> None:
    """No axis goes up to an accuracy of 1.9, because one trial has 0.9."""
    sweep = report(many([(0.1, 16, 0.9), (0.01, 16, 0.9)]))
    (axes,) = figure_of(sweep, "figures/parallel_coordinates.png").axes
    texts = [text.get_text() for text in axes.texts]
    assert texts[texts.index("validation accuracy") :] == ["validation accuracy", "0.9000"]


def test_a_parameter_that_makes_the_difference_is_important() -> None:
    table = many([(10.0**-e, u, u / 100) for e in (1, 2, 3, 4) for u in (16, 32, 64)])
    shares = importances(table, PLAN)
    assert list(shares) == ["units", "rate"]
    assert shares["units"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)
    assert "2 more are in trials.csv" in report(table).table.notes


@pytest.mark.parametrize("count", [1, 2])
def test_where_all_scores_are_equal_nothing_is_important(count: int) -> None:
    table = many([(0.01, 16, 0.5), (0.02, 16, 0.5)][:count])
    assert importances(table, PLAN) == {}
    assert drawn(report(table)) == {"optimization_history", "parallel_coordinates"}


trials = st.tuples(st.floats(1e-4, 1e-1), st.sampled_from((16, 32, 64)), st.floats(0, 1))


@settings(max_examples=10)
@given(st.lists(trials, min_size=1, max_size=12, unique_by=lambda trial: trial[0]))
def test_any_trials_can_be_drawn(scores: list[tuple[float, int, float]]) -> None:
    plan = replace(PLAN, searched="rate=1e-4..1e-1 log, units=16..64")
    assert drawn(report(many(scores, plan), plan)) >= {"parallel_coordinates"}


FACTORS = ("variant", "optimizer")


def run(variant: str, optimizer: str, val: float, **more: Any) -> dict[str, Any]:
    own = {"run_id": f"{variant}-{optimizer}-{val}", "variant": variant, "optimizer": optimizer}
    scores = {"best_val_accuracy": val, "best_val_loss": 0.1, "test_accuracy": val - 0.01}
    costs = {"convergence_epoch": 3, "seconds": 10.0, "epoch_seconds": [4.0, 6.0]}
    return {**own, **scores, **costs, "val_accuracy": [0.5, val], "state": "finished", **more}


RUNS = pd.DataFrame(
    [
        run("plain", "adam", 0.97),
        run("plain", "adam", 0.99, convergence_epoch=4),
        run("plain", "sgd", 0.96),
        run("plain", "sgd", 0.95),
        run("dropout", "adam", 0.93, test_accuracy=0.999),
        run("dropout", "sgd", 0.94),
        run("dropout", "rmsprop", 0.99, state="failed"),
    ]
)


def suite(children: pd.DataFrame = RUNS) -> SweepReport:
    return report_suite("cnn_suite", children, FACTORS, FAILED)


def test_a_suite_has_n_means_and_spread_of_each_combination_the_best_first() -> None:
    """The combination with the best test score has the worst validation score."""
    report = suite()
    assert report.best_runs == ["dropout-sgd-0.94", "plain-adam-0.99"]
    assert report.table.rows == [
        ["plain", "adam", "2", "0.9800 ± 0.0141", "0.9700 ± 0.0141", "3.5", "10.0"],
        ["plain", "sgd", "2", "0.9550 ± 0.0071", "0.9450 ± 0.0071", "3.0", "10.0"],
        ["dropout", "sgd", "1", "0.9400", "0.9300", "3.0", "10.0"],
        ["dropout", "adam", "1", "0.9300", "0.9990", "3.0", "10.0"],
    ]
    assert list(pd.read_csv(io.StringIO(text_of(report, "suite.csv")))) == [
        *("variant", "optimizer", "n", "best_val_accuracy_mean", "best_val_accuracy_std"),
        *("test_accuracy_mean", "test_accuracy_std", "convergence_epoch", "seconds"),
    ]
    page = text_of(report, "suite.md")
    assert "| plain | adam | 2 | 0.9800 ± 0.0141 | 0.9700 ± 0.0141 | 3.5 | 10.0 |" in page
    assert "best on validation: plain with adam, accuracy 0.9800 ± 0.0141 (n = 2)." in page
    assert "- failed: rate=0.1 units=16: no number\n" in page
    assert drawn(report) == {"heat_map", "validation_curves"}


def test_among_equals_the_lower_validation_loss_wins() -> None:
    tie = [run("plain", "sgd", 0.9, best_val_loss=0.2), run("plain", "adam", 0.9)]
    assert list(summarize(pd.DataFrame(tie), FACTORS)["optimizer"]) == ["adam", "sgd"]


scores = st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.integers(0, 100))


@given(st.lists(scores, min_size=1))
def test_each_variant_has_one_best_run_and_the_best_combination_is_last(
    scores: list[tuple[str, str, int]],
) -> None:
    trials = pd.DataFrame([run(v, o, score / 100) for v, o, score in scores])
    chosen, best = best_runs(trials, FACTORS), summarize(trials, FACTORS).iloc[0]
    assert sorted(name[0] for name in chosen) == sorted({variant for variant, _, _ in scores})
    variant, optimizer = best["variant"], best["optimizer"]
    highest = max(score for v, o, score in scores if (v, o) == (variant, optimizer))
    assert chosen[-1] == f"{variant}-{optimizer}-{highest / 100}"


def test_the_heat_map_has_an_empty_cell_where_all_runs_failed() -> None:
    heat_map = figure_of(suite(RUNS[RUNS["run_id"] != "dropout-adam-0.93"]), "figures/heat_map.png")
    texts = [text.get_text() for text in heat_map.axes[0].texts]
    assert texts == ["0.9400", "0.9800\n± 0.0141", "0.9550\n± 0.0071"]


def test_curves_have_a_panel_per_variant_and_a_line_per_optimizer() -> None:
    curves = figure_of(suite(), "figures/validation_curves.png")
    assert [axes.get_title() for axes in curves.axes] == ["plain", "dropout"]
    for axes in curves.axes:
        assert len(axes.get_lines()) >= 2
        np.testing.assert_array_equal(axes.get_lines()[0].get_xdata(), [1, 2])
