"""Which finished runs are one configuration, and what a run that lacks something leaves open."""

from collections.abc import Mapping
from typing import Any

import pytest

from trackml.comparison.runs import FinishedRun, run_table
from trackml.metrics import Metric, metric_tags

USUAL = {"seed": "0", "model_parameters": "7", "validation_samples": "50", "dropout": "0.3"}


def run(
    params: Mapping[str, str] = {},
    tags: Mapping[str, str] = {},
    *,
    run_id: str = "a",
    without: tuple[str, ...] = (),
) -> FinishedRun:
    """A run as `cnn` leaves it, but for what is said otherwise."""
    names = {"trackml.framework": "torch", "trackml.architecture": "cnn"}
    sums = {"trackml.data_sha256": "sum", "trackml.device": "cpu", "trackml.precision": "float32"}
    logged = {name: text for name, text in (USUAL | dict(params)).items() if name not in without}
    metrics = {} if "test_accuracy" in without else {"test_accuracy": 0.5}
    return FinishedRun(run_id, names | sums | dict(tags), logged, metrics)


@pytest.mark.parametrize(
    ("params", "tags", "same_configuration", "same_rows"),
    [
        ({"seed": "1"}, {}, True, True),
        ({"register": "false", "resume": "true"}, {}, True, True),
        ({"dropout": "3e-1"}, {}, True, True),
        ({"dropout": "0.4"}, {}, False, True),
        ({"limit": "100"}, {}, False, True),
        ({"validation_samples": "60"}, {}, False, False),
        ({}, {"trackml.device": "cuda"}, False, True),
        ({}, {"trackml.precision": "bfloat16"}, False, True),
        ({}, {"trackml.data_sha256": "another"}, False, False),
    ],
)
def test_runs_that_differ_in_their_seed_alone_are_one_configuration_on_the_same_rows(
    params: dict[str, str], tags: dict[str, str], same_configuration: bool, same_rows: bool
) -> None:
    runs = run_table([run(), run(params, tags)])
    assert len(runs) == 2
    assert (runs["configuration"].nunique() == 1) is same_configuration
    assert (runs["rows"].nunique() == 1) is same_rows


def test_a_seed_is_a_number_however_it_was_typed() -> None:
    assert run_table([run({"seed": "1"}), run({"seed": "1.0"})])["seed"].nunique() == 1


def test_a_row_has_what_the_run_has_logged() -> None:
    keras = {"trackml.framework": "keras", "trackml.architecture": "dense"}
    keras |= metric_tags(Metric("top3", higher_is_better=False))
    first, second = run_table([run(), run(tags=keras, run_id="b")]).to_dict("records")
    expected: dict[Any, Any] = {
        "run_id": "b",
        "framework": "keras",
        "architecture": "dense",
        "rows": first["rows"],
        "validation_samples": 50,
        "seed": 0.0,
        "configuration": first["configuration"],
        "parameters": 7.0,
        "ranked_by": "top3",
        "higher_is_better": False,
        "test_accuracy": 0.5,
    }
    assert second == expected


def test_a_table_has_gaps_where_a_run_has_not_logged_something() -> None:
    missing = ("test_accuracy", "model_parameters", "seed", "validation_samples")
    gaps = [run(run_id=run_id, without=missing) for run_id in ("b", "c")]
    runs = run_table([run(), *gaps])
    assert runs["run_id"].tolist() == ["a", "b", "c"]
    for name in ("test_accuracy", "parameters"):
        assert runs[name].isna().tolist() == [False, True, True]
    assert runs["validation_samples"].tolist() == [50, 0, 0]
    assert runs["seed"].nunique() == 3


def test_a_table_of_no_runs_has_its_columns() -> None:
    columns = run_table([]).columns
    assert set(columns) == set(run_table([run()]).columns) - {"test_accuracy"}
