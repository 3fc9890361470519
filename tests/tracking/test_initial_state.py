"""What a run has before it begins: its color in MLflow."""

import colorsys
from itertools import pairwise

from hypothesis import given, strategies as st

from tests.pipelines.expected import EXPECTED
from trackml.tracking.initial_state import run_color


def hue_and_lightness(color: str) -> tuple[float, float]:
    red, green, blue = (int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return colorsys.rgb_to_hls(red, green, blue)[:2]


def test_architectures_differ_in_hue() -> None:
    names = {expected.architecture for expected in EXPECTED.values()} | {"vgg16", "ensemble"}
    hues = sorted(hue_and_lightness(run_color(name, {}))[0] for name in names)
    gaps = [after - before for before, after in pairwise([*hues, hues[0] + 1])]
    assert min(gaps) > 0.05


def test_parameters_differ_in_shade() -> None:
    shades = {run_color("cnn", {"seed": str(seed)}) for seed in range(10)}
    assert len(shades) == 10
    hues, lightness = zip(*(hue_and_lightness(shade) for shade in shades), strict=True)
    assert max(hues) - min(hues) < 0.02
    assert max(lightness) - min(lightness) > 0.15


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_a_color_is_one_that_a_page_understands(name: str, params: dict[str, str]) -> None:
    color = run_color(name, params)
    assert len(color) == 7
    assert int(color[1:], 16) < 2**24
    assert color == run_color(name, dict(reversed(params.items())))
