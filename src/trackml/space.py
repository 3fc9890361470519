"""Spaces of parameters: what a sweep may choose from, and the points that it tries."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from trackml.errors import UsageError

DIGITS = 6  # significant ones of what is drawn from a range: as many as its trial's name shows
_MANY = 1_000_000  # points that are not all written down to find those not drawn yet
_PATIENCE = 1_000  # draws in a row without a new point, after which there seems to be no other


@dataclass(frozen=True)
class Choices:
    """Some values, all different."""

    values: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Any:
        return self.values[index]

    def at(self, share: float) -> Any:
        """The value that has a share, 0 to below 1, of the others before it."""
        return self.values[int(share * len(self))]

    def __str__(self) -> str:
        return "|".join(map(shown, self.values))


@dataclass(frozen=True)
class Range:
    """All numbers from `low` to `high`, both included; `log` draws each magnitude as often."""

    low: float
    high: float
    log: bool = False

    def at(self, share: float) -> float:
        """The number that has a share, 0 to 1, of the range below it, to six digits."""
        if self.log:
            return self.rounded(math.exp(_between(math.log(self.low), math.log(self.high), share)))
        return self.rounded(_between(self.low, self.high, share))

    def rounded(self, value: float) -> float:
        """A number of the range to six significant digits, still in the range."""
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def __str__(self) -> str:
        return f"{shown(self.low)}..{shown(self.high)}" + (" log" if self.log else "")


@dataclass(frozen=True)
class WholeRange:
    """All integers from `low` to `high`, both included; `log` draws each magnitude as often."""

    low: int
    high: int
    log: bool = False

    def __len__(self) -> int:
        return self.high - self.low + 1

    def __getitem__(self, index: int) -> int:
        return self.low + index

    def at(self, share: float) -> int:
        """The integer that has a share, 0 to below 1, of the range below it."""
        if self.log:
            above = math.log(self.high + 1)
            return min(int(math.exp(_between(math.log(self.low), above, share))), self.high)
        return self.low + int(share * len(self))

    def __str__(self) -> str:
        return f"{self.low}..{self.high}" + (" log" if self.log else "")


Space = Mapping[str, Choices | Range | WholeRange]
"""What each parameter may be."""


def as_text(space: Space) -> str:
    """A space as one line, as `trackml.notation` reads it."""
    return ", ".join(f"{name}={values}" for name, values in space.items())


def name_of(values: Mapping[str, Any]) -> str:
    """What people call a point of a space: `hidden_units=128 dropout=0.1`."""
    return " ".join(f"{name}={shown(value)}" for name, value in values.items())


def shown(value: object) -> str:
    """A value as a user would type it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)


def values_of(name: str, space: Space) -> dict[str, Any]:
    """The point that `name_of` has named.

    Raises:
        ValueError: it is none of this space.
    """
    pattern = " ".join(f"{re.escape(parameter)}=(.*)" for parameter in space)
    found = re.fullmatch(pattern, name)
    if not found:
        raise ValueError(f"expected values of {', '.join(space)}. Received: {name!r}")
    pairs = zip(space.items(), found.groups(), strict=True)
    return {parameter: _value_of(text, one) for (parameter, one), text in pairs}


def _value_of(text: str, one: Choices | Range | WholeRange) -> Any:
    match one:
        case Choices(values=values):
            return values[[shown(value) for value in values].index(text)]
        case Range():
            return float(text)
        case WholeRange():
            return int(text)


def size(space: Space) -> float:
    """How many points there are; infinity if there is a range of real numbers."""
    sizes = [math.inf if isinstance(one, Range) else len(one) for one in space.values()]
    return math.prod(sizes)


def grid(space: Space) -> list[dict[str, Any]]:
    """All points, the last parameter changing fastest.

    Raises:
        UsageError: a parameter has a range of real numbers.
    """
    for name, one in space.items():
        if isinstance(one, Range):
            raise UsageError(
                f"--search grid: {name}={one} has no end of values; list some of them, as in "
                f"{name}={shown(one.low)}|{shown(one.high)}, or take random or tpe"
            )
    values = [[one[i] for i in range(len(one))] for one in space.values()]  # type: ignore[arg-type,index]
    return [dict(zip(space, point, strict=True)) for point in product(*values)]


def sample(space: Space, count: int, seed: int) -> list[dict[str, Any]]:
    """Points drawn at random, no two the same; all there are if those are fewer than `count`.

    Fewer points are the first of more. A narrow range has but so many numbers of six digits.
    """
    random = np.random.default_rng(seed)
    different: dict[str, dict[str, Any]] = {}
    since_the_last = 0
    while len(different) < count and since_the_last < _PATIENCE:
        point = {name: one.at(random.random()) for name, one in space.items()}
        since_the_last += 1
        if name_of(point) not in different:
            different[name_of(point)], since_the_last = point, 0
    if len(different) < count and size(space) <= _MANY:  # the last ones are hard to hit
        points = grid(space)
        for index in random.permutation(len(points)):
            different.setdefault(name_of(points[index]), points[index])
    return list(different.values())[:count]


def _between(low: float, high: float, share: float) -> float:
    return low * (1 - share) + high * share  # not low + (high - low) * share, which may overflow
