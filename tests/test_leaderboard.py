"""Which configuration is the best one of its architecture, from runs that are written down here."""

from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackml.leaderboard import best_configurations, comparable, mean_and_spread


def run(
    architecture: str, configuration: str, seed: int, val: float, **more: Any
) -> dict[str, Any]:
    return {
        "run_id": f"{architecture}-{configuration}-{seed}",
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


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_means_and_spreads_are_those_of_statistics(values: list[float]) -> None:
    runs = pd.DataFrame([run("cnn", "a", seed, value) for seed, value in enumerate(values)])
    (row,) = mean_and_spread(runs, ["test_accuracy"]).to_dict("records")
    assert row["n"] == len(values)
    assert row["test_accuracy_mean"] == pytest.approx(pd.Series(values).mean())
    spread = pd.Series(values).std()
    assert row["test_accuracy_std"] == pytest.approx(spread, nan_ok=True, abs=1e-12)
