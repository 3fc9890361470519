"""How long a model takes to answer."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

from numpy.typing import NDArray

METRIC = "prediction_seconds_per_1000"
_COUNT = 1_000


def seconds_per_1000(predict: Callable[[NDArray[Any]], object], inputs: NDArray[Any]) -> float:
    """Seconds for 1,000 inputs at once.

    Of a model that has answered before: some compile themselves when they are first asked.

    Args:
        inputs: (N, ...); if there are fewer than 1,000, the seconds are scaled.
    """
    some = inputs[:_COUNT]
    started = perf_counter()
    predict(some)
    return (perf_counter() - started) * _COUNT / len(some)
