"""Reports: numbers, texts and figures under the names of the tracking contract."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Report:
    """Metrics by name; texts and figures by their path among a run's artifacts."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, "Figure"] = field(default_factory=dict)


def with_spread(mean: float, std: float) -> str:
    """A score with its standard deviation, if one is known."""
    return f"{mean:.4f}" if math.isnan(std) else f"{mean:.4f} ± {std:.4f}"


def as_json(value: object) -> str:
    """A value as a report has it: indented, for people too."""
    return json.dumps(value, indent=2)
