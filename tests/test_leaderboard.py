"""Which configuration is the best one of its architecture, from runs that are written down here."""

from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from trackml.leaderboard import (
    best_configurations,
    comparable,
    left_out,
    main_score,
    mean_and_spread,
    on_the_same_rows,
    rank,
    scored,
)


def run(
    architecture: str, configuration: str, seed: int, val: float, **more: Any
) -> dict[str, Any]:
    return {
        "run_id": f"{architecture}-{configuration}-{seed}",
        "framework": "torch",
        "parameters": 7.0,
        "architecture": architecture,
        "configuration": configuration,
        "rows": "usual",
        "validation_samples": 6000,
        "seed": str(seed),
        "best_val_accuracy": val,
        "test_accuracy": val,
        **more,
    }


def ids(runs: pd.DataFrame) -> set[str]:
    return set(runs["run_id"])


def test_the_best_is_the_best_on_validation_whatever_the_test_set_says() -> None:
    runs = pd.DataFrame(
        [
            run("cnn", "a", 0, 0.98, test_accuracy=0.90),
            run("cnn", "a", 1, 0.97, test_accuracy=0.90),
            run("cnn", "b", 0, 0.96, test_accuracy=0.99),
        ]
    )
    assert ids(best_configurations(runs, min_runs=1)) == {"cnn-a-0", "cnn-a-1"}


def test_the_mean_decides_and_not_the_luckiest_seed() -> None:
    runs = pd.DataFrame(
        [run("cnn", "a", 0, 0.99), run("cnn", "a", 1, 0.90), run("cnn", "b", 0, 0.96)]
    )
    assert ids(best_configurations(runs, min_runs=1)) == {"cnn-b-0"}
    assert ids(best_configurations(runs, min_runs=2)) == {"cnn-a-0", "cnn-a-1"}
    assert best_configurations(runs, min_runs=3).empty


def test_a_run_that_was_repeated_with_its_seed_counts_once() -> None:
    newest, oldest = run("cnn", "a", 0, 0.98), run("cnn", "a", 0, 0.98) | {"run_id": "old"}
    chosen = best_configurations(pd.DataFrame([newest, oldest]), min_runs=1)
    assert ids(chosen) == {"cnn-a-0"}


def test_only_scores_of_the_same_rows_compare() -> None:
    runs = pd.DataFrame(
        [
            run("cnn", "easy", 0, 1.0, rows="few", validation_samples=60),
            run("cnn", "easy", 1, 1.0, rows="few", validation_samples=60),
            run("cnn", "a", 0, 0.97),
            run("vgg16", "alone", 0, 0.9, rows="few", validation_samples=60),
        ]
    )
    assert ids(comparable(runs)) == {"cnn-a-0", "vgg16-alone-0"}


def test_of_as_many_rows_those_of_most_runs_compare_and_then_those_of_the_newest() -> None:
    runs = [run("cnn", "new", 0, 0.9, rows="new"), run("cnn", "old", 0, 0.9, rows="old")]
    assert ids(comparable(pd.DataFrame(runs))) == {"cnn-new-0"}
    runs.append(run("cnn", "old", 1, 0.9, rows="old"))
    assert ids(comparable(pd.DataFrame(runs))) == {"cnn-old-0", "cnn-old-1"}


def test_each_architecture_is_ranked_by_its_own_metric() -> None:
    runs = pd.DataFrame(
        [
            run("cnn", "a", 0, 0.9),
            run("cnn", "b", 0, 0.8),
            run("detector", "a", 0, 0.0, best_val_accuracy=None, best_val_map=0.5),
            run("detector", "b", 0, 0.0, best_val_accuracy=None, best_val_map=0.6),
        ]
    )
    assert ids(best_configurations(runs, min_runs=1)) == {"cnn-a-0", "detector-b-0"}


def test_no_runs_have_no_best() -> None:
    columns = ["run_id", "architecture", "rows", "validation_samples", "configuration", "seed"]
    nothing = pd.DataFrame(columns=columns)
    assert best_configurations(comparable(nothing), min_runs=1).empty


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_means_and_spreads_are_those_of_statistics(values: list[float]) -> None:
    runs = pd.DataFrame([run("cnn", "a", seed, value) for seed, value in enumerate(values)])
    (row,) = mean_and_spread(runs, ["test_accuracy"]).to_dict("records")
    assert row["n"] == len(values)
    assert row["test_accuracy_mean"] == pytest.approx(pd.Series(values).mean())
    spread = pd.Series(values).std()
    assert row["test_accuracy_std"] == pytest.approx(spread, nan_ok=True, abs=1e-12)


def ranks(*runs: dict[str, Any], score: Any = "accuracy", min_runs: int = 1) -> pd.DataFrame:
    return rank(pd.DataFrame(runs), score, min_runs).set_index("configuration")


def test_validation_ranks_where_the_test_set_would_say_otherwise() -> None:
    table = ranks(
        run("cnn", "a", 0, 0.98, test_accuracy=0.90),
        run("dense", "b", 0, 0.97, test_accuracy=0.99, framework="keras"),
        run("mlp", "c", 0, 0.99, test_accuracy=0.80, framework="numpy"),
    )
    assert table["rank"].to_dict() == {"c": 1, "a": 2, "b": 3}
    assert table["framework"].to_dict() == {"c": "numpy", "a": "torch", "b": "keras"}


@pytest.mark.parametrize(
    ("score", "first"), [("accuracy", "high"), ("map", "high"), ("mae", "low"), ("loss", "low")]
)
def test_each_score_has_its_direction(score: str, first: str) -> None:
    runs = [
        run("cnn", name, 0, 0.5, **{f"best_val_{score}": value, f"test_{score}": value})
        for name, value in (("high", 0.9), ("low", 0.1))
    ]
    assert ranks(*runs, score=score)["rank"][first] == 1


def test_the_interval_is_that_of_students_t() -> None:
    values = [0.90, 0.92, 0.97]
    row = ranks(*(run("cnn", "a", seed, value) for seed, value in enumerate(values))).loc["a"]
    assert row["n"] == 3
    assert row["test_mean"] == pytest.approx(0.93)
    half = 4.302653 * pd.Series(values).std() / 3**0.5  # t of 2 degrees of freedom, by table
    assert row["test_high"] - row["test_mean"] == pytest.approx(half, rel=1e-5)
    assert row["test_mean"] - row["test_low"] == pytest.approx(half, rel=1e-5)


def test_one_run_has_no_interval_and_says_nothing_of_noise() -> None:
    table = ranks(run("cnn", "a", 0, 0.9), run("cnn", "b", 0, 0.8), run("cnn", "b", 1, 0.8))
    assert table.loc["a", ["val_std", "test_low", "test_high"]].isna().all()
    assert pd.isna(table["p_value"]["b"])


def test_what_is_within_noise_of_the_first() -> None:
    def three(name: str, *values: float) -> list[dict[str, Any]]:
        return [run("cnn", name, seed, value) for seed, value in enumerate(values)]

    best, close, far = (0.980, 0.982, 0.984), (0.979, 0.981, 0.985), (0.900, 0.901, 0.902)
    table = ranks(*three("best", *best), *three("close", *close), *three("far", *far))
    expected = ttest_ind(best, close, equal_var=False).pvalue
    assert table["p_value"]["close"] == pytest.approx(expected) == pytest.approx(0.883, abs=1e-3)
    assert table["p_value"]["far"] < 1e-4
    table = ranks(*three("best", 0.9, 0.9), *three("same", 0.9, 0.9), *three("off", 0.8, 0.8))
    assert table["p_value"][["best", "same"]].tolist() == [1, 1]
    assert pd.isna(table["p_value"]["off"])  # without any spread there is nothing to test


def test_costs_are_means_and_unknown_where_nobody_logged_them() -> None:
    table = ranks(
        run("cnn", "a", 0, 0.9, epoch_seconds=2.0, model_size_bytes=100.0),
        run("cnn", "a", 1, 0.9, epoch_seconds=4.0, model_size_bytes=100.0),
    )
    row = table.loc["a"]
    assert (row["epoch_seconds"], row["model_size_bytes"], row["parameters"]) == (3, 100, 7)
    assert pd.isna(row["prediction_seconds_per_1000"])


def test_the_run_that_stands_for_a_configuration_is_its_best_on_validation() -> None:
    table = ranks(run("cnn", "a", 0, 0.8), run("cnn", "a", 1, 0.9), run("cnn", "a", 1, 0.95))
    assert table["run_id"]["a"] == "cnn-a-1"
    assert table["run_ids"]["a"].split() == ["cnn-a-1", "cnn-a-0"]  # a seed counts once
    assert table["n"]["a"] == 2


def test_configurations_with_too_few_runs_are_not_ranked() -> None:
    runs = [run("cnn", "lucky", 0, 1.0), run("cnn", "a", 0, 0.9), run("cnn", "a", 1, 0.9)]
    assert list(ranks(*runs, min_runs=2).index) == ["a"]
    assert ranks(*runs, min_runs=3).empty


def test_what_is_not_ranked_is_said() -> None:
    runs = pd.DataFrame(
        [
            run("cnn", "a", 0, 0.9),
            run("cnn", "a", 0, 0.9),
            run("cnn", "a", 1, 0.9),
            run("cnn", "lonely", 0, 0.9),
            run("cnn", "b", 0, 0.9, rows="few", validation_samples=60),
            run("cnn", "c", 0, float("nan")),
        ]
    )
    chosen = on_the_same_rows(scored(runs, "accuracy"))
    assert left_out(runs, chosen, "accuracy", 2) == [
        "runs left out: 1, without a validation accuracy",
        "runs left out: 1, validated on other rows, so that scores do not compare",
        "runs left out: 1, older ones of the same seed",
        "configurations left out: 1, with fewer than 2 runs",
    ]
    assert scored(runs, "mae").empty


def test_a_stray_run_on_more_rows_does_not_replace_all_others() -> None:
    stray = run("cnn", "z", 0, 0.99, rows="half", validation_samples=30_000)
    runs = pd.DataFrame([stray, run("cnn", "a", 0, 0.9), run("cnn", "a", 1, 0.9)])
    assert ids(on_the_same_rows(runs)) == {"cnn-a-0", "cnn-a-1"}
    assert ids(on_the_same_rows(runs.head(2))) == {"cnn-z-0"}


def test_of_one_seed_the_run_that_was_tested_counts() -> None:
    nan = float("nan")
    row = ranks(run("cnn", "a", 0, 0.9, test_accuracy=nan), run("cnn", "a", 0, 0.9)).loc["a"]
    assert (row["n"], row["test_mean"]) == (1, 0.9)


def test_a_mean_of_fewer_test_scores_says_so() -> None:
    untested = run("cnn", "a", 2, 0.9, test_accuracy=float("nan"))
    row = ranks(run("cnn", "a", 0, 0.9), run("cnn", "a", 1, 0.8), untested).loc["a"]
    assert (row["n"], row["test_n"]) == (3, 2)


def test_equal_scores_are_equal_however_many_there_are() -> None:
    for value in (0.9123, 0.98765, 0.1 + 0.2):
        few = [run("cnn", "few", seed, value) for seed in range(3)]
        many = [run("cnn", "many", seed, value) for seed in range(5)]
        table = ranks(*few, *many)
        assert table["rank"].to_dict() == {"many": 1, "few": 2}
        assert table["p_value"]["few"] == 1


@pytest.mark.parametrize(("score", "best"), [("mae", "cnn-a-0"), ("accuracy", "cnn-a-1")])
def test_the_best_run_is_the_best_in_the_direction_of_its_score(score: Any, best: str) -> None:
    runs = [
        run("cnn", "a", seed, 0.5, **{f"best_val_{score}": value, f"test_{score}": value})
        for seed, value in enumerate((0.1, 0.9))
    ]
    assert ranks(*runs, score=score)["run_id"]["a"] == best


def test_the_main_score_is_what_most_runs_have() -> None:
    houses = run("dense", "a", 0, float("nan"), best_val_mae=0.3)
    assert main_score(pd.DataFrame([houses])) == "mae"
    assert main_score(pd.DataFrame([run("cnn", "a", 0, 0.9)])) == "accuracy"
    assert main_score(pd.DataFrame()) == "accuracy"
