"""Different models of the same digits, side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from trackml.evaluation.figures import runs as figures
from trackml.evaluation.report import Report, with_spread
from trackml.leaderboard import best_configurations, comparable, mean_and_spread

SCORES: Mapping[str, str] = {
    "train_loss": "train loss",
    "train_accuracy": "train accuracy",
    "test_accuracy": "test accuracy",
    "test_f1_macro": "macro F1",
}
COLUMNS = ("model", "n", *SCORES.values(), "seconds", "trained parameters")
MOST_RUNS = 50  # of a model, whose histories are read one by one
NOTES = (
    "Of each model the configuration that is best on validation, among the finished runs of this",
    "store that were validated on the same, and the most, rows; mean ± standard deviation over its",
    f"n runs, which differ in their seed alone; of more than {MOST_RUNS} the newest.",
    "Training figures are those of the best epoch; seconds are those of training and validation,",
    "on whatever each ran. Faster R-CNN is trained to find digits: its loss is a sum of four, and",
    "its accuracies are of canvases with one digit, where it says the class of its best box.",
)


@dataclass(frozen=True)
class Comparison:
    """A table as `side_by_side` has it, and a line for each model or run that is not in it."""

    table: pd.DataFrame
    missing: Sequence[str]


def compare_models(
    digits: pd.DataFrame,
    canvases: pd.DataFrame,
    models: Mapping[str, tuple[str, str]],
    min_runs: int,
    with_best_epoch: Callable[[pd.DataFrame], pd.DataFrame],
) -> Comparison | None:
    """The best configuration of each model on validation; None if no model has a run.

    Args:
        digits, canvases: finished runs, as `trackml.tracking.past.finished_runs` gives them.
        models: architecture → name of the model, and the entry point that trains it.
        min_runs: runs that a configuration needs to be considered.
        with_best_epoch: adds the training scores of each run's best epoch, and its seconds.
    """
    runs = pd.concat([part for part in (digits, canvases) if len(part)] or [digits])
    runs = runs[(runs["framework"] == "torch") & runs["architecture"].isin(list(models))]
    needed = [*SCORES, "parameters", "best_epoch", "epoch_seconds"]
    missing = [name for name in needed if name not in runs]
    runs = runs.reindex(columns=[*runs, *missing]).dropna(subset=needed)
    chosen = comparable(runs)
    best = best_configurations(chosen, min_runs).groupby("architecture").head(MOST_RUNS)
    if best.empty:
        return None
    counts = runs["architecture"].value_counts() - chosen["architecture"].value_counts()
    others = [
        f"{name}: {counts[architecture]} of its runs left out, validated on other rows"
        for architecture, (name, _) in models.items()
        if counts.get(architecture, 0) > 0
    ]
    seeds = f"{min_runs} finished runs with seeds of their own"
    wanted = seeds if min_runs > 1 else "a finished run"
    absent = [
        f"{name}: no configuration has {wanted}; mlflow run . -e {command} makes one"
        for architecture, (name, command) in models.items()
        if architecture not in set(best["architecture"])
    ]
    names = {architecture: name for architecture, (name, _) in models.items()}
    return Comparison(side_by_side(with_best_epoch(best), names), absent + others)


def side_by_side(runs: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """A row per model: n runs, mean and spread of SCORES and of seconds, trained parameters.

    Args:
        runs: a row per run, those of a model with one configuration, with architecture, SCORES,
            seconds, parameters and run_id.
        names: architecture → name of the model, in the order of the table.
    """
    table = mean_and_spread(runs, [*SCORES, "seconds"])
    groups = runs.groupby("architecture")
    table["parameters"] = groups["parameters"].first().astype(int)
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
            f"{row['parameters']:,.0f}",
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
        figures={"figures/comparison.png": figures.models(table)},
    )
