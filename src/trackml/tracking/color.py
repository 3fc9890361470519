"""The colours of runs in MLflow's charts: those that it picks itself are often the same for two."""

import colorsys
import json
from collections.abc import Mapping
from hashlib import sha256

COLOR_TAG = "mlflow.runColor"
# With this before them, the names of our architectures lie far from each other. Where a new one
# does not, its test says so, and other digits are found by trying.
_APART = "723"
_DARKEST, _LIGHTEST, _SATURATION = 0.3, 0.58, 0.65


def run_color(name: str, params: Mapping[str, str]) -> str:
    """A hue for each name of runs, in a shade for each set of parameters, as "#rrggbb"."""
    shade = _share(json.dumps(params, sort_keys=True))
    lightness = _DARKEST + shade * (_LIGHTEST - _DARKEST)
    red, green, blue = colorsys.hls_to_rgb(_share(_APART + name), lightness, _SATURATION)
    return "#" + "".join(f"{round(255 * part):02x}" for part in (red, green, blue))


def _share(text: str) -> float:
    """A number from 0 to below 1 that looks random, and is always the same for a text."""
    return int.from_bytes(sha256(text.encode()).digest()[:4], "big") / 2**32
