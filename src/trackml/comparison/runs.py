"""Finished runs as comparisons take them, and which of them are one configuration."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from trackml.comparison.logged_params import parse_text, with_effect
from trackml.metrics import DIRECTION_TAG, METRIC_TAG

_COLUMNS = [
    *("run_id", "framework", "architecture", "rows", "validation_samples", "seed"),
    *("configuration", "parameters", "ranked_by", "higher_is_better"),
]


@dataclass(frozen=True)
class FinishedRun:
    """What a finished run has logged; of each metric the last value."""

    run_id: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    experiment_id: str = ""


@dataclass(frozen=True)
class BaselineRun:
    """A finished run to compare with: its metrics, and the parameters that differ."""

    run_id: str
    architecture: str
    metrics: Mapping[str, float]
    differences: tuple[str, ...]


def run_table(runs: Iterable[FinishedRun]) -> pd.DataFrame:
    """A row per run, in their order.

    Its columns are run_id; framework and architecture; rows, equal for runs that were validated on
    the same rows, and validation_samples, how many; seed; configuration, equal for runs that differ
    in nothing else that affects the result; parameters, the trained ones, nan if not logged;
    ranked_by and higher_is_better, the metric that ranked its epochs, None if not logged; each
    metric by its name, nan where a run has none.
    """
    rows = [_row(run) for run in runs]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=_COLUMNS)


def _row(run: FinishedRun) -> dict[str, object]:
    samples = _number(run.params.get("validation_samples", ""))
    return {
        **run.metrics,
        "run_id": run.run_id,
        "framework": run.tags.get("trackml.framework", "unknown"),
        "architecture": run.tags.get("trackml.architecture", "unknown"),
        "rows": f"{run.tags.get('trackml.data_sha256')} {samples}",
        "validation_samples": 0 if math.isnan(samples) else int(samples),
        "seed": parse_text(run.params["seed"]) if "seed" in run.params else run.run_id,
        "configuration": _configuration(run),
        "parameters": _number(run.params.get("model_parameters", "")),
        "ranked_by": run.tags.get(METRIC_TAG),
        "higher_is_better": run.tags.get(DIRECTION_TAG, "true") == "true",
    }


def _configuration(run: FinishedRun) -> str:
    params = {name: parse_text(text) for name, text in with_effect(run.params).items()}
    params.pop("seed", None)
    # The device and precision that `auto` resolved to are in the tags.
    tags = [run.tags.get(f"trackml.{name}") for name in ("data_sha256", "device", "precision")]
    return json.dumps([params, tags], sort_keys=True)


def _number(text: str) -> float:
    value = parse_text(text)
    return value if isinstance(value, float) and math.isfinite(value) else math.nan
