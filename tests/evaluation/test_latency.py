"""How long a model takes to answer."""

import time

import numpy as np
import pytest

from trackml.evaluation.latency import seconds_per_1000


@pytest.mark.parametrize(("count", "answered"), [(2_500, 1_000), (1_000, 1_000), (10, 10)])
def test_seconds_are_those_of_1000_inputs(count: int, answered: int) -> None:
    calls: list[int] = []

    def predict(inputs: np.ndarray) -> None:
        calls.append(len(inputs))
        time.sleep(0.05)

    seconds = seconds_per_1000(predict, np.zeros((count, 2)))
    assert calls == [answered]
    assert 0.05 * 1_000 / answered <= seconds < 60 * 1_000 / answered
