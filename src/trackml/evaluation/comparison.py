"""Runs side by side."""

from collections.abc import Mapping, Sequence

import pandas as pd

from trackml.evaluation.figures.runs import comparison
from trackml.evaluation.report import Report, as_json


def compare_architectures(
    metrics: Mapping[str, Mapping[str, float]], names: Sequence[str], notes: Sequence[str] = ()
) -> Report:
    """The metrics `names` of two architectures, one run each, side by side.

    Args:
        metrics: architecture → its metrics; the difference is the second's minus the first's.
        notes: lines to print below the table.

    Raises:
        ValueError: it is not two architectures.
    """
    values = pd.DataFrame(
        {
            architecture: [scores[name] for name in names]
            for architecture, scores in metrics.items()
        },
        index=list(names),
    )
    first, second = values.columns
    lines = [f"| | {first} | {second} | difference |", "|---|---:|---:|---:|"]
    for name, row in values.iterrows():
        lines.append(
            f"| {name} | {row[first]:.4f} | {row[second]:.4f} | {row[second] - row[first]:+.4f} |"
        )
    return Report(
        texts={
            "reports/comparison.md": "\n".join([*lines, "", *notes, ""]),
            "reports/comparison.json": as_json(values.to_dict()),
        },
        figures={"figures/comparison.png": comparison(values)},
    )
