"""Search spaces: an Optuna distribution for each parameter, and points of such a space."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from trackml.errors import UsageError

DIGITS = 6  # significant digits of a float: the name of a point shows them all
_MAX_LISTED = 1_000_000  # points of a space that is listed to find the last ones
_MAX_REPEATS = 1_000  # draws in a row without a new point

Distribution = CategoricalDistribution | FloatDistribution | IntDistribution
Space = Mapping[str, Distribution]
"""What each parameter may be; ranges include both ends."""
Point = Mapping[str, Any]
"""A value for each parameter of a space."""


def shown(value: object) -> str:
    """A value as a user would type it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)


def as_text(space: Space) -> str:
    """A space as one line, such as `kind=a|b, units=1..9, rate=0.0001..0.01 log`."""
    return ", ".join(f"{name}={_values_text(one)}" for name, one in space.items())


def _values_text(one: Distribution) -> str:
    if isinstance(one, CategoricalDistribution):
        return "|".join(map(shown, one.choices))
    return f"{shown(one.low)}..{shown(one.high)}" + " log" * one.log


def name_of(point: Point) -> str:
    """The name of a point: `hidden_units=128 dropout=0.1`."""
    return " ".join(f"{name}={shown(value)}" for name, value in point.items())


def _all_values(one: Distribution) -> Sequence[Any] | None:
    """None for a range of floats."""
    if isinstance(one, CategoricalDistribution):
        return one.choices
    return range(one.low, one.high + 1) if isinstance(one, IntDistribution) else None


def size(space: Space) -> float:
    """The number of points; infinity with a range of floats."""
    values = map(_all_values, space.values())
    return math.prod(math.inf if each is None else len(each) for each in values)


def grid(space: Space) -> list[dict[str, Any]]:
    """All points; the last parameter changes fastest.

    Raises:
        UsageError: a parameter has a range of floats.

    >>> grid({"units": IntDistribution(1, 2), "kind": CategoricalDistribution(["a"])})
    [{'units': 1, 'kind': 'a'}, {'units': 2, 'kind': 'a'}]
    """
    for name, one in space.items():
        if isinstance(one, FloatDistribution):
            raise UsageError(
                f"--search grid: {name}={_values_text(one)} has infinitely many values; list some, "
                f"as in {name}={shown(one.low)}|{shown(one.high)}, or take random or tpe"
            )
    values = [_all_values(one) or () for one in space.values()]
    return [dict(zip(space, point, strict=True)) for point in product(*values)]


def sample(space: Space, count: int, seed: int) -> list[dict[str, Any]]:
    """`count` random points, all different; fewer if the space has fewer.

    A smaller sample is the beginning of a larger one. A narrow range of floats has only so many
    numbers of six digits.
    """
    random = np.random.default_rng(seed)
    points: dict[str, dict[str, Any]] = {}
    repeats = 0
    while len(points) < count and repeats < _MAX_REPEATS:
        point = {name: value_at(one, random.random()) for name, one in space.items()}
        repeats = repeats + 1 if name_of(point) in points else 0
        points[name_of(point)] = point
    if len(points) < count and size(space) <= _MAX_LISTED:  # the last points are hard to hit
        everything = grid(space)
        for index in random.permutation(len(everything)):
            points.setdefault(name_of(everything[index]), everything[index])
    return list(points.values())[:count]


def value_at(one: Distribution, share: float) -> Any:
    """The value with a share, 0 to below 1, of the distribution below it."""
    if isinstance(one, CategoricalDistribution):
        return one.choices[int(share * len(one.choices))]
    is_whole = isinstance(one, IntDistribution)
    low, high = one.low, one.high + is_whole
    if one.log:
        value = math.exp(math.log(low) * (1 - share) + math.log(high) * share)
    else:
        value = low * (1 - share) + high * share  # low + (high - low) * share may overflow
    return rounded(math.floor(value) if is_whole else value, one)


def rounded(value: Any, one: Distribution) -> Any:
    """A value within its range; a float to six significant digits."""
    if isinstance(one, CategoricalDistribution):
        return value
    if isinstance(one, FloatDistribution):
        value = float(f"{value:.{DIGITS}g}")
    return min(max(value, one.low), one.high)


def study_of(
    space: Space, trials: Iterable[tuple[Point, float]], sampler: optuna.samplers.BaseSampler
) -> optuna.Study:
    """A study of Optuna's in memory, with the scores of these points; higher is better."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it announces each study on stderr
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for point, score in trials:
        study.add_trial(
            optuna.trial.create_trial(params={**point}, distributions={**space}, value=score)
        )
    return study
