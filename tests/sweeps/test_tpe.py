"""What TPE suggests: points of the space, none twice, better ones as it learns."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from tests.sweeps.plans import PLAN
from trackml.sweeps.cluster import tune
from trackml.sweeps.space import name_of
from trackml.sweeps.tpe import TPESearch

SPACE = "rate=1e-4..1e-2 log, units=1..64, kind=a|b"
SMALL = "units=1..3, kind=a|b"  # of which the pipeline does not take units=2 kind=a
ALLOWED = ["units=1 kind=a", "units=1 kind=b", "units=2 kind=b", "units=3 kind=a", "units=3 kind=b"]


def search(space: str, tried: Any = (), seed: int = 0) -> TPESearch:
    plan = replace(PLAN, searched=space, search="tpe", seed=seed)
    return TPESearch(plan, "score", tried)


def run_trials(
    tpe: TPESearch, count: int, result: Callable[[dict[str, Any]], dict[str, Any]]
) -> Sequence[dict[str, Any]]:
    """The points of so many trials, one after the other."""
    points = []
    for number in range(count):
        suggested = tpe.suggest(str(number))
        assert isinstance(suggested, dict)
        name, values = suggested["trial"]["name"], suggested["trial"]["values"]
        assert (values["epochs"], values["register"]) == (2, False)
        points.append({flag: values[flag] for flag in ("rate", "units", "kind") if flag in name})
        assert name == name_of(points[-1])
        tpe.on_trial_complete(str(number), result(points[-1]))
    return points


def test_it_learns_where_scores_are_good() -> None:
    """The last points are nearer to the best one than the first, over ten searches."""
    first, last = 0, 0
    for seed in range(10):
        tpe = search(SPACE, seed=seed)
        points = run_trials(tpe, 30, lambda v: {"score": -abs(v["units"] - 50)})
        distances = [abs(point["units"] - 50) for point in points]
        first, last = first + sum(distances[:10]), last + sum(distances[-10:])
    assert last < 0.5 * first


def check_all_are_suggested(tpe: TPESearch, result: dict[str, Any], expected: list[str]) -> None:
    points = run_trials(tpe, len(expected), lambda _: result)
    assert sorted(map(name_of, points)) == expected
    assert tpe.suggest("last") == tune.search.Searcher.FINISHED


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1), st.sampled_from([{"score": 1.0}, {"failure": "broken"}]))
def test_every_point_that_the_pipeline_takes_is_suggested_once(
    seed: int, result: dict[str, Any]
) -> None:
    check_all_are_suggested(search(SMALL, seed=seed), result, ALLOWED)


def test_points_of_an_interrupted_search_are_not_suggested_again() -> None:
    tried = [({"units": 1, "kind": "a"}, 1.0), ({"units": 3, "kind": "b"}, 3.0)]
    check_all_are_suggested(search(SMALL, tried), {"score": 0.0}, ALLOWED[1:4])
    assert len(search(SMALL, tried)) == 4


def test_points_of_an_interrupted_search_teach() -> None:
    tried = [({"rate": 0.01, "units": u, "kind": "b"}, -abs(u - 50.0)) for u in range(1, 64, 3)]
    points = run_trials(search(SPACE, tried), 5, lambda v: {"score": -abs(v["units"] - 50.0)})
    assert sum(abs(point["units"] - 50) for point in points) / 5 < 15


def test_it_prints_nothing_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    run_trials(search(SPACE), 12, lambda _: {"score": 0.0})
    assert capfd.readouterr() == ("", "")
