"""Statistics over runs that are written down here."""

from typing import Any, Literal

import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import ttest_ind

from trackml.comparison.statistics import (
    best_configurations,
    left_out,
    logged_metrics,
    main_metric,
    mean_and_std,
    on_the_same_rows,
    rank,
    scored,
)
from trackml.metrics import ACCURACY, MAE, METRICS, Metric

NAN = float("nan")


def run(configuration: str, seed: int, val: float, **more: Any) -> dict[str, Any]:
    return {
        "run_id": f"{configuration}-{seed}",
        "framework": "torch",
        "parameters": 7.0,
        "architecture": "cnn",
        "configuration": configuration,
        "rows": "usual",
        "validation_samples": 6000,
        "seed": str(seed),
        "best_val_accuracy": val,
        "test_accuracy": val,
        **more,
    }


def several(configuration: str, *scores: float) -> list[dict[str, Any]]:
    return [run(configuration, seed, score) for seed, score in enumerate(scores)]


def ids(runs: pd.DataFrame) -> list[str]:
    return sorted(runs["run_id"])


def ranks(*runs: dict[str, Any], metric: str = "accuracy", min_runs: int = 1) -> pd.DataFrame:
    return rank(pd.DataFrame(runs), METRICS[metric], min_runs).set_index("configuration")


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_means_and_deviations_agree_with_pandas(values: list[float]) -> None:
    runs = pd.DataFrame([*several("b", *values), run("a", 0, 0.5)])
    table = mean_and_std(runs, ["framework", "configuration"], ["test_accuracy"])
    row, _ = table.to_dict("records")
    assert row["n"] == len(values)
    assert row["test_accuracy_mean"] == pytest.approx(pd.Series(values).mean())
    std = pd.Series(values).std()
    assert row["test_accuracy_std"] == pytest.approx(std, nan_ok=True, abs=1e-12)


FEW = {"rows": "few", "validation_samples": 60}
HALF = {"rows": "half", "validation_samples": 30_000}


@pytest.mark.parametrize(
    ("prefer", "runs", "compared"),
    [
        ("runs", [run("a", 0, 0.9, **HALF), *several("b", 0.9, 0.9)], ["b-0", "b-1"]),
        ("runs", [run("a", 0, 0.9), run("b", 0, 0.9, **HALF)], ["b-0"]),
        ("runs", [run("a", 0, 0.9), run("b", 0, 0.9, rows="others")], ["a-0"]),
        ("samples", [run("a", 0, 1, **FEW), run("a", 1, 1, **FEW), run("b", 0, 0.9)], ["b-0"]),
        ("samples", [run("a", 0, 1, rows="old"), *several("b", 0.9, 0.9)], ["b-0", "b-1"]),
        ("samples", [run("a", 0, 0.9), run("b", 0, 0.9, rows="others")], ["a-0"]),
    ],
)
def test_the_rows_of_most_runs_or_the_most_rows_are_chosen_then_those_of_the_first_run(
    prefer: Literal["runs", "samples"], runs: list[dict[str, Any]], compared: list[str]
) -> None:
    other = run("z", 0, 0.9, architecture="vgg16", **FEW)
    by_architecture = on_the_same_rows(pd.DataFrame([*runs, other]), ["architecture"], prefer)
    assert ids(by_architecture) == [*compared, "z-0"]
    assert ids(on_the_same_rows(pd.DataFrame(runs), prefer=prefer)) == compared


def test_the_best_configuration_is_best_on_validation_by_its_mean() -> None:
    runs = pd.DataFrame([*several("a", 0.99, 0.90), run("b", 0, 0.96, test_accuracy=0.1)])
    assert ids(best_configurations(runs, min_runs=1)) == ["b-0"]
    assert ids(best_configurations(runs, min_runs=2)) == ["a-0", "a-1"]
    assert best_configurations(runs, min_runs=3).empty
    assert best_configurations(on_the_same_rows(runs.head(0), ["architecture"]), 1).empty


def test_a_run_that_was_repeated_with_its_seed_counts_once() -> None:
    runs = pd.DataFrame([run("a", 0, 0.98), run("a", 0, 0.98, run_id="old")])
    assert ids(best_configurations(runs, min_runs=1)) == ["a-0"]


def test_each_architecture_is_ranked_by_its_own_metric() -> None:
    detector = {"architecture": "detector", "best_val_accuracy": None}
    runs = [
        *(run("a", 0, 0.9), run("b", 0, 0.8)),
        run("c", 0, 0.0, best_val_map=0.5, **detector),
        run("d", 0, 0.0, best_val_map=0.6, **detector),
    ]
    assert ids(best_configurations(pd.DataFrame(runs), min_runs=1)) == ["a-0", "d-0"]


def test_validation_ranks_where_test_scores_would_rank_otherwise() -> None:
    table = ranks(
        run("a", 0, 0.98, test_accuracy=0.90),
        run("b", 0, 0.97, test_accuracy=0.99, architecture="dense", framework="keras"),
        run("c", 0, 0.99, test_accuracy=0.80, architecture="mlp", framework="numpy"),
    )
    assert table["rank"].to_dict() == {"c": 1, "a": 2, "b": 3}
    assert table["framework"].to_dict() == {"c": "numpy", "a": "torch", "b": "keras"}


@pytest.mark.parametrize("metric", METRICS)
def test_the_first_configuration_and_its_best_run_are_the_best_by_the_metric(metric: str) -> None:
    runs = [
        run(name, seed, 0.5, **{f"best_val_{metric}": value, f"test_{metric}": value})
        for name, values in (("high", (0.8, 0.9)), ("low", (0.1, 0.2)))
        for seed, value in enumerate(values)
    ]
    first = ranks(*runs, metric=metric).iloc[0]
    best = "high-1" if METRICS[metric].higher_is_better else "low-0"
    assert first["run_id"] == best


def test_the_interval_is_that_of_students_t() -> None:
    values = [0.90, 0.92, 0.97]
    row = ranks(*several("a", *values)).loc["a"]
    assert row["n"] == 3
    assert row["test_mean"] == pytest.approx(0.93)
    half = 4.302653 * pd.Series(values).std() / 3**0.5  # t of 2 degrees of freedom, by table
    assert row["test_high"] - row["test_mean"] == pytest.approx(half, rel=1e-5)
    assert row["test_mean"] - row["test_low"] == pytest.approx(half, rel=1e-5)


def test_one_run_has_no_interval_and_is_not_compared() -> None:
    table = ranks(run("a", 0, 0.9), *several("b", 0.8, 0.8))
    assert table.loc["a", ["val_std", "test_low", "test_high"]].isna().all()
    assert pd.isna(table["p_value"]["b"])


def test_p_values_are_those_of_welchs_test_against_the_first() -> None:
    best, close, far = (0.980, 0.982, 0.984), (0.979, 0.981, 0.985), (0.900, 0.901, 0.902)
    table = ranks(*several("best", *best), *several("close", *close), *several("far", *far))
    expected = ttest_ind(best, close, equal_var=False).pvalue
    assert table["p_value"]["close"] == pytest.approx(expected) == pytest.approx(0.883, abs=1e-3)
    assert table["p_value"]["far"] < 1e-4
    same = [*several("best", 0.9, 0.9), *several("same", 0.9, 0.9)]
    table = ranks(*same, *several("off", 0.8, 0.8))
    assert table["p_value"][["best", "same"]].tolist() == [1, 1]
    assert pd.isna(table["p_value"]["off"])  # without any spread there is nothing to test


def test_costs_are_means_and_nan_where_no_run_has_logged_them() -> None:
    row = ranks(
        run("a", 0, 0.9, epoch_seconds=2.0, model_size_bytes=100.0),
        run("a", 1, 0.9, epoch_seconds=4.0, model_size_bytes=100.0),
    ).loc["a"]
    assert (row["epoch_seconds"], row["model_size_bytes"], row["parameters"]) == (3, 100, 7)
    assert pd.isna(row["prediction_seconds_per_1000"])


def test_the_runs_of_a_configuration_are_listed_best_first_one_per_seed() -> None:
    row = ranks(run("a", 0, 0.8), run("a", 1, 0.9), run("a", 1, 0.7, run_id="old")).loc["a"]
    assert (row["n"], row["run_id"], row["run_ids"]) == (2, "a-1", "a-1 a-0")


def test_configurations_with_too_few_runs_are_not_ranked() -> None:
    runs = [run("lucky", 0, 1.0), *several("a", 0.9, 0.9)]
    assert list(ranks(*runs, min_runs=2).index) == ["a"]
    assert ranks(*runs, min_runs=3).empty


def test_each_reason_for_leaving_runs_out_has_a_line() -> None:
    runs = [
        *several("a", 0.9, 0.9),
        run("a", 0, 0.9),
        run("lonely", 0, 0.9),
        run("b", 0, 0.9, **FEW),
        run("c", 0, NAN),
    ]
    table = pd.DataFrame(runs)
    compared = on_the_same_rows(scored(table, ACCURACY))
    assert left_out(table, compared, ACCURACY, 2) == [
        "runs left out: 1, without a validation accuracy",
        "runs left out: 1, validated on other rows, so that scores do not compare",
        "runs left out: 1, older ones of the same seed",
        "configurations left out: 1, with fewer than 2 runs",
    ]
    assert scored(table, MAE).empty


def test_of_runs_with_one_seed_the_first_with_a_test_score_counts() -> None:
    row = ranks(run("a", 0, 0.9, test_accuracy=NAN), run("a", 0, 0.9)).loc["a"]
    assert (row["n"], row["test_mean"]) == (1, 0.9)


def test_the_number_of_test_scores_is_counted() -> None:
    row = ranks(*several("a", 0.9, 0.8), run("a", 2, 0.9, test_accuracy=NAN)).loc["a"]
    assert (row["n"], row["test_n"]) == (3, 2)


@pytest.mark.parametrize("value", [0.9123, 0.98765, 0.1 + 0.2])
def test_equal_scores_are_equal_however_many_there_are(value: float) -> None:
    table = ranks(*several("few", *[value] * 3), *several("many", *[value] * 5))
    assert table["rank"].to_dict() == {"many": 1, "few": 2}
    assert table["p_value"]["few"] == 1


def test_the_main_metric_is_that_of_most_runs() -> None:
    house = run("a", 0, NAN, best_val_mae=0.3)
    assert main_metric(pd.DataFrame([house])) == MAE
    assert main_metric(pd.DataFrame([house, *several("b", 0.9, 0.9)])) == ACCURACY
    assert main_metric(pd.DataFrame()) == ACCURACY


def test_the_main_metric_may_be_one_of_the_users_own() -> None:
    """Its runs have an accuracy too, which did not rank their epochs."""
    own = {"ranked_by": "top3", "higher_is_better": False, "best_val_top3": 0.9}
    runs = [run("a", seed, 0.9, **own) for seed in (0, 1)]
    top3 = Metric("top3", higher_is_better=False)
    assert main_metric(pd.DataFrame(runs)) == top3
    assert main_metric(pd.DataFrame([*runs, *several("b", 0.9, 0.9, 0.9)])) == ACCURACY
    assert logged_metrics(pd.DataFrame(runs)) == {**METRICS, "top3": top3}
