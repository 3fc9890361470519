"""Points of search spaces: named, counted, listed and sampled."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from pipelines import dense_mnist
from tests.sweeps.plans import PLAN
from trackml.errors import UsageError
from trackml.sweeps.space import Distribution, Space, as_text, grid, name_of, sample, size


def test_a_range_of_floats_has_no_grid() -> None:
    with pytest.raises(UsageError, match=r"grid: dropout=0.1..0.5 .*dropout=0.1\|0.5"):
        grid({"dropout": FloatDistribution(0.1, 0.5)})


def test_logarithmic_ranges_draw_each_magnitude_as_often() -> None:
    space: Space = {
        "rate": FloatDistribution(1e-4, 1e-2, log=True),
        "units": IntDistribution(1, 9999, log=True),
    }
    points = sample(space, 2000, 0)
    assert sum(point["rate"] < 1e-3 for point in points) == pytest.approx(1000, abs=100)
    assert sum(point["units"] < 100 for point in points) == pytest.approx(1000, abs=100)


@pytest.mark.parametrize(
    ("one", "count"),
    [
        (FloatDistribution(0.100001, 0.100003), 3),
        (FloatDistribution(0.1, 0.1000000001), 1),
        (FloatDistribution(1e-300, 1e300, log=True), 20),
        (FloatDistribution(-1e308, 1e308), 20),
        (IntDistribution(1, 2**53), 20),
        (IntDistribution(1, 2**53, log=True), 20),
        (IntDistribution(-2, 3), 6),
        (CategoricalDistribution((1, 2, 3)), 3),
    ],
)
def test_no_more_points_are_drawn_than_a_space_has(one: Distribution, count: int) -> None:
    points = sample({"rate": one}, 20, 0)
    assert len(points) == len({name_of(point) for point in points}) == count
    assert all(one._contains(one.to_internal_repr(point["rate"])) for point in points)


def choices(values: st.SearchStrategy[Any]) -> st.SearchStrategy[CategoricalDistribution]:
    return st.lists(values, min_size=1, max_size=5, unique=True).map(CategoricalDistribution)


numbers = st.floats(1e-6, 0.9, allow_nan=False)
floats = st.tuples(numbers, numbers, st.booleans()).filter(lambda r: r[0] < r[1])
integers = st.tuples(st.integers(1, 100), st.integers(101, 10_000), st.booleans())
spaces = st.fixed_dictionaries(
    {
        "dropout": choices(numbers) | floats.map(lambda r: FloatDistribution(*r)),
        "hidden_units": choices(st.integers(1, 10_000))
        | integers.map(lambda r: IntDistribution(*r)),
        "activation": choices(st.sampled_from(("relu", "gelu"))),
    }
)


@given(spaces, st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_points_are_different_in_range_reproducible_and_named(
    space: Space, count: int, seed: int
) -> None:
    points = sample(space, count, seed)
    assert len({name_of(point) for point in points}) == len(points) <= count
    if count <= size(space) < math.inf:
        assert len(points) == count
    assert sample(space, count, seed) == points
    assert sample(space, max(1, count // 2), seed) == points[: max(1, count // 2)]
    plan = replace(PLAN, params=dense_mnist.Params, searched=as_text(space))
    for point in points:
        assert plan.point_of(name_of(point)) == point
        assert plan.allows(point)
        for name, one in space.items():
            assert one._contains(one.to_internal_repr(point[name]))


@given(spaces)
def test_the_size_is_that_of_the_grid(space: Space) -> None:
    if size(space) < 10_000:
        assert len({name_of(point) for point in grid(space)}) == len(grid(space)) == size(space)
