"""What TPE suggests: points of the space, none twice, better ones as it learns."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.tune.search import Searcher

from trackml.space import Choices, Range, Space, WholeRange, name_of
from trackml.suggestions import Suggestions

SPACE: Space = {
    "rate": Range(1e-4, 1e-1, log=True),
    "units": WholeRange(1, 64),
    "kind": Choices(("a", "b")),
}
SMALL: Space = {"units": WholeRange(1, 3), "kind": Choices(("a", "b"))}


def suggestions(space: Space, known: Any = (), seed: int = 0) -> Suggestions:
    return Suggestions(space, metric="score", seed=seed, common={"epochs": 2}, known=known)


def ask(search: Suggestions, count: int, score: Any) -> list[dict[str, Any]]:
    points = []
    for number in range(count):
        suggested = search.suggest(str(number))
        assert isinstance(suggested, dict)
        values = dict(suggested["trial"]["values"])
        assert values.pop("epochs") == 2
        assert suggested["trial"]["name"] == name_of(values)
        search.on_trial_complete(str(number), {"score": score(values)})
        points.append(values)
    return points


def test_it_learns_where_it_is_good() -> None:
    """The second half of its points is nearer to the best one than the first, over ten searches."""
    first, second = [], []
    for seed in range(10):
        points = ask(suggestions(SPACE, seed=seed), 30, lambda v: -abs(v["units"] - 50))
        far = [abs(point["units"] - 50) for point in points]
        first.append(sum(far[:10]))
        second.append(sum(far[-10:]))
    assert sum(second) < 0.5 * sum(first)


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_it_suggests_every_point_of_a_small_space_once_and_then_ends(seed: int) -> None:
    search = suggestions(SMALL, seed=seed)
    points = ask(search, 6, lambda values: values["units"])
    assert len({name_of(point) for point in points}) == 6
    assert search.suggest("7") == Searcher.FINISHED


def test_what_is_known_is_not_suggested_again_and_teaches() -> None:
    known = [({"units": u, "kind": k}, float(u)) for u in (1, 2) for k in ("a", "b")]
    points = ask(suggestions(SMALL, known), 2, lambda values: 0.0)
    assert sorted(name_of(point) for point in points) == ["units=3 kind=a", "units=3 kind=b"]


def test_a_trial_that_fails_is_not_suggested_again() -> None:
    search = suggestions(SMALL)
    names = set()
    for number in range(6):
        suggested = search.suggest(str(number))
        assert isinstance(suggested, dict)
        names.add(suggested["trial"]["name"])
        search.on_trial_complete(str(number), {"failure": "broken"})
    assert len(names) == 6


def test_only_points_that_are_allowed_are_suggested() -> None:
    search = Suggestions(
        SMALL,
        metric="score",
        seed=0,
        common={"epochs": 2},
        known=[],
        allowed=lambda point: (point["units"], point["kind"]) != (2, "a"),
    )
    points = ask(search, 5, lambda values: values["units"])
    assert "units=2 kind=a" not in {name_of(point) for point in points}
    assert search.suggest("6") == Searcher.FINISHED


def test_it_says_nothing_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    ask(suggestions(SPACE), 12, lambda values: 0.0)
    assert capfd.readouterr() == ("", "")
