"""Different models of the same data side by side."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from trackml.comparison import figures
from trackml.comparison.runs import BaselineRun
from trackml.comparison.statistics import best_configurations, mean_and_std, on_the_same_rows
from trackml.evaluation.report import Report, Table, as_json, number_of, spread_of, text_of

SCORES = {
    "train_loss": "train loss",
    "train_accuracy": "train accuracy",
    "test_accuracy": "test accuracy",
    "test_f1_macro": "macro F1",
}
MAX_RUNS = 50  # of a model: their histories are read one by one
NOTES = (
    "Each row is the best configuration of a model on validation, among the finished runs in this",
    "store that were validated on the same, and the most, rows. Scores are mean ± standard",
    f"deviation over its n runs, which differ only in their seed; at most the {MAX_RUNS} newest",
    "count. Train scores are those of the best epoch. Seconds are of training and validation, on",
    "the machine of each run. Faster R-CNN is trained to detect digits: its loss is a sum of four,",
    "and its accuracies are on canvases with one digit, by the class of its best box.",
)


def compare_models(
    runs: Sequence[pd.DataFrame],
    models: Mapping[str, tuple[str, str]],
    min_runs: int,
    with_best_epoch: Callable[[pd.DataFrame], pd.DataFrame],
) -> Table | None:
    """The best configuration of each PyTorch model on validation; None if no model has a run.

    A row has n runs, mean and spread of SCORES and of seconds, and the trained parameters.

    Args:
        runs: finished runs, of each task as `runs.run_table` returns them.
        models: architecture → name of the model, and the command that trains it.
        min_runs: configurations with fewer runs are left out.
        with_best_epoch: adds the training scores of each run's best epoch, and its seconds.
    """
    every = pd.concat([part for part in runs if len(part)] or runs)
    every = every[(every["framework"] == "torch") & every["architecture"].isin(list(models))]
    needed = [*SCORES, "parameters", "best_epoch", "epoch_seconds"]
    complete = every.reindex(columns=every.columns.union(needed, sort=False)).dropna(subset=needed)
    compared = on_the_same_rows(complete, ["architecture"], prefer="samples")
    best = best_configurations(compared, min_runs).groupby("architecture").head(MAX_RUNS)
    if best.empty:
        return None
    counts = [part["architecture"].value_counts() for part in (complete, compared, best)]
    wanted = f"{min_runs} finished runs with different seeds" if min_runs > 1 else "a finished run"
    notes = []
    for architecture, (name, command) in models.items():
        all_runs, usable, used = (count.get(architecture, 0) for count in counts)
        if not used:
            notes.append(f"{name}: no configuration has {wanted}; {command} makes one")
        if others := all_runs - usable:
            notes.append(f"{name}: {others} of its runs left out, validated on other rows")
    best = with_best_epoch(best)
    groups = best.groupby("architecture")
    data = mean_and_std(best, "architecture", [*SCORES, "seconds"])
    data["parameters"] = groups["parameters"].first().astype(int)
    data["run_ids"] = groups["run_id"].agg(" ".join)
    data = data.reindex([architecture for architecture in models if architecture in data.index])
    data.insert(0, "model", [models[architecture][0] for architecture in data.index])
    columns = {
        "model": text_of("model"),
        "n": text_of("n"),
        **{heading: spread_of(name) for name, heading in SCORES.items()},
        "seconds": number_of("seconds_mean", ",.0f"),
        "trained parameters": number_of("parameters", ",.0f"),
    }
    return Table("side by side", data, columns, notes=notes)


def with_best_epoch(
    values_by_epoch: Callable[[str, str], Mapping[int, float]], runs: pd.DataFrame
) -> pd.DataFrame:
    """The same runs, with train_loss and train_accuracy of their best epochs, and seconds.

    Seconds are those of training and validation in all epochs, and of precomputing the outputs of
    frozen layers. A metric that a run does not have per epoch stays as it is.

    Args:
        values_by_epoch: (run id, metric) → epoch → value.
    """
    runs = runs.copy()
    for index, run in runs.iterrows():
        for metric in ("train_loss", "train_accuracy"):
            by_epoch = values_by_epoch(run["run_id"], metric)
            runs.loc[index, metric] = by_epoch.get(int(run["best_epoch"]), run[metric])
        seconds = sum(values_by_epoch(run["run_id"], "epoch_seconds").values())
        frozen = run.get("frozen_seconds", 0.0)
        runs.loc[index, "seconds"] = seconds + (0.0 if pd.isna(frozen) else frozen)
    return runs


def report_models(table: Table) -> Report:
    """Models side by side, as CSV, Markdown and figure."""

    def page() -> str:
        ids = zip(table.data["model"], table.data["run_ids"], strict=True)
        runs = [f"- {model}: run {each}" for model, each in ids]
        return "\n".join([table.as_markdown(), "", *runs, "", *NOTES, ""])

    return Report(
        texts={"comparison.csv": table.as_csv, "comparison.md": page},
        figures={"figures/comparison.png": partial(figures.models, table.data)},
    )


def with_baseline(
    evaluate: Callable[..., Report], baseline: BaselineRun | None, architecture: str
) -> Callable[..., Report]:
    """The same evaluation, whose report also has its metrics beside those of a baseline, if any."""
    if baseline is None:
        return evaluate
    other = baseline

    def evaluate_both(*args: Any) -> Report:
        report = evaluate(*args)
        both = {other.architecture: other.metrics, architecture: report.metrics}
        notes = [
            f"Compared with run {other.run_id}; one run each (n = 1), so no spread is known.",
            f"The runs differ in: {', '.join(other.differences) or 'nothing'}.",
        ]
        return report | compare_architectures(both, list(other.metrics), notes)

    return evaluate_both


def compare_architectures(
    metrics: Mapping[str, Mapping[str, float]], names: Sequence[str], notes: Sequence[str] = ()
) -> Report:
    """The metrics `names` of two architectures, one run each, side by side.

    Args:
        metrics: architecture → its metrics; the difference is the second's minus the first's.
        notes: lines below the table.
    """

    def values() -> pd.DataFrame:
        scores = {name: [own[metric] for metric in names] for name, own in metrics.items()}
        return pd.DataFrame(scores, index=list(names))

    def page() -> str:
        first, second = metrics
        data = values().assign(difference=lambda each: each[second] - each[first])
        columns = {"metric": text_of("metric")} | {name: number_of(name, ".4f") for name in metrics}
        columns["difference"] = number_of("difference", "+.4f")
        title = f"{first} and {second}"
        return Table(title, data.reset_index(names="metric"), columns, notes=notes).as_markdown()

    return Report(
        texts={
            "reports/comparison.md": lambda: f"{page()}\n",
            "reports/comparison.json": lambda: as_json(values().to_dict()),
        },
        figures={"figures/comparison.png": lambda: figures.bars(values())},
    )
