"""Different models of the same digits, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from trackml.evaluation.figures.runs import models
from trackml.evaluation.report import Report, with_spread
from trackml.leaderboard import mean_and_spread

SCORES: Mapping[str, str] = {
    "train_loss": "train loss",
    "train_accuracy": "train accuracy",
    "test_accuracy": "test accuracy",
    "test_f1_macro": "macro F1",
}
COLUMNS = ("model", "n", *SCORES.values(), "seconds", "trained parameters")
NOTES = (
    "Of each model the configuration that is best on validation, among the finished runs of this",
    "store that were validated on the same, and the most, rows; mean ± standard deviation over its",
    "n runs, which differ in their seed alone.",
    "Training figures are those of the best epoch; seconds are those of training and validation,",
    "on whatever each ran. Faster R-CNN is trained to find digits: its loss is a sum of four, and",
    "its accuracies are of canvases with one digit, where it says the class of its best box.",
)


@dataclass(frozen=True)
class Comparison:
    """A table as `side_by_side` has it, and a line for each model or run that is not in it."""

    table: pd.DataFrame
    missing: Sequence[str]


def side_by_side(runs: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """A row per model: n runs, mean and spread of SCORES and of seconds, trained parameters.

    Args:
        runs: a row per run, those of a model with one configuration, with architecture, SCORES,
            seconds, parameters and run_id.
        names: architecture → name of the model, in the order of the table.
    """
    table = mean_and_spread(runs, [*SCORES, "seconds"])
    groups = runs.groupby("architecture")
    table["parameters"] = groups["parameters"].first()
    table["run_ids"] = groups["run_id"].agg(" ".join)
    table = table.reindex([name for name in names if name in table.index])
    table.insert(0, "model", [names[architecture] for architecture in table.index])
    return table.reset_index(drop=True)


def as_rows(table: pd.DataFrame) -> list[list[str]]:
    """A comparison as people read it: model, n, the scores, seconds, trained parameters."""
    return [
        [
            str(row["model"]),
            str(row["n"]),
            *(with_spread(row[f"{name}_mean"], row[f"{name}_std"]) for name in SCORES),
            f"{row['seconds_mean']:,.0f}",
            f"{row['parameters']:,}",
        ]
        for _, row in table.iterrows()
    ]


def report_comparison(comparison: Comparison) -> Report:
    """The comparison as CSV, Markdown and figure."""
    table = comparison.table
    lines = [
        "| " + " | ".join(COLUMNS) + " |",
        "|---|" + "---:|" * (len(COLUMNS) - 1),
        *("| " + " | ".join(cells) + " |" for cells in as_rows(table)),
    ]
    runs = [
        f"- {model}: run {ids}" for model, ids in zip(table["model"], table["run_ids"], strict=True)
    ]
    missing = [f"- {line}" for line in comparison.missing]
    notes = ["", *runs, *missing, "", *NOTES, ""]
    return Report(
        texts={
            "comparison.csv": table.to_csv(index=False),
            "comparison.md": "\n".join([*lines, *notes]),
        },
        figures={"figures/comparison.png": models(table)},
    )
