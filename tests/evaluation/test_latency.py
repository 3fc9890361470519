"""How long a model takes to answer."""

import numpy as np
import pytest

from trackml.evaluation import latency


@pytest.mark.parametrize(("count", "answered"), [(2_500, 1_000), (1_000, 1_000), (10, 10)])
def test_seconds_are_those_of_1000_inputs(
    count: int, answered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    monkeypatch.setattr(latency, "perf_counter", lambda: 7 + 0.25 * len(calls))
    seconds = latency.seconds_per_1000(
        lambda inputs: calls.append(len(inputs)), np.zeros((count, 2))
    )
    assert calls == [answered]
    assert seconds == 0.25 * 1_000 / answered
