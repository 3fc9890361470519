"""Checks of numbers that a user passes from Python."""

import math
from numbers import Real


def checked(
    name: str, value: object, *, below: float = math.inf, max_value: float = math.inf
) -> float:
    """The value as a float, if it is a number from 0 to below `below` and at most `max_value`.

    Raises:
        ValueError: it is not.
    """
    number = float(value) if isinstance(value, Real) else math.nan
    if not (0 <= number < below and number <= max_value):
        limit = f" and below {below:g}" if below < math.inf else " and finite"
        limit = f" and at most {max_value:g}" if max_value < math.inf else limit
        raise ValueError(f"{name} must be at least 0{limit}. Received: {value!r}")
    return number
