"""The colours of runs in MLflow's charts: those that it picks itself are often the same for two."""

import colorsys
import json
from collections.abc import Mapping
from hashlib import sha256

COLOR_TAG = "mlflow.runColor"
_APART = "723"  # with this before them, the names of our architectures lie far from each other
_DARKEST, _LIGHTEST, _SATURATION = 0.3, 0.58, 0.65


def run_color(architecture: str, configuration: Mapping[str, str]) -> str:
    """A hue for each architecture, in a shade for each configuration, as "#rrggbb"."""
    shade = _share(json.dumps(configuration, sort_keys=True))
    lightness = _DARKEST + shade * (_LIGHTEST - _DARKEST)
    red, green, blue = colorsys.hls_to_rgb(_share(_APART + architecture), lightness, _SATURATION)
    return "#" + "".join(f"{round(255 * part):02x}" for part in (red, green, blue))


def _share(text: str) -> float:
    """A number from 0 to below 1 that looks random, and is always the same for a text."""
    return int.from_bytes(sha256(text.encode()).digest()[:4], "big") / 2**32
