"""Runs that are compared in MLflow's charts can be told apart."""

import colorsys
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.pipelines.expected import EXPECTED
from trackml.tracking.color import run_color


def hue(color: str) -> float:
    red, green, blue = (int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return colorsys.rgb_to_hls(red, green, blue)[0]


def test_architectures_differ_in_hue() -> None:
    names = {expected.architecture for expected in EXPECTED.values()} | {"cnn_suite", "sweep"}
    hues = sorted(hue(run_color(name, {})) for name in names)
    gaps = [after - before for before, after in pairwise([*hues, hues[0] + 1])]
    assert min(gaps) > 0.05


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_a_color_is_one_that_a_page_understands(name: str, configuration: dict[str, str]) -> None:
    color = run_color(name, configuration)
    assert len(color) == 7
    assert int(color[1:], 16) < 2**24
    assert color == run_color(name, dict(reversed(configuration.items())))


def test_configurations_differ_in_shade() -> None:
    shades = {run_color("cnn", {"seed": str(seed)}) for seed in range(10)}
    assert len(shades) == 10
    hues = [hue(shade) for shade in shades]
    assert max(hues) - min(hues) < 0.02
