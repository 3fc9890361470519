"""What the trials of a sweep or suite show: which is best, how it was found, what mattered."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import optuna
import pandas as pd

from trackml.comparison.statistics import mean_and_std
from trackml.errors import TrackmlError
from trackml.evaluation.report import (
    Cell,
    Report,
    Table,
    number_of,
    spread_of,
    text_of,
    with_spread,
)
from trackml.sweeps import figures
from trackml.sweeps.plan import Plan
from trackml.sweeps.space import name_of, shown, study_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trackml.sweeps.worker import Outcome

MAX_ROWS = 10  # trials that a person is shown; trials.csv has all of them
MIN_VARIANCE = 1e-20  # of scores: less is no difference, and fANOVA refuses it
SUITE_METRICS = ("best_val_accuracy", "best_val_loss", "test_accuracy", "convergence_epoch")
SUITE_CURVES = ("val_accuracy", "epoch_seconds")
_SCORES, _COSTS = ["best_val_accuracy", "test_accuracy"], ["convergence_epoch", "seconds"]
_STATES = {"finished": 0, "pruned": 1, "failed": 2, "running": 2}
_SWEEP_NOTES = """
Mean ± standard deviation over the n runs. The trials were compared on validation data,
and none has seen the test data; the best was run again and scored on them, once per run.

    {}
"""
_SUITE_NOTES = """
Mean ± standard deviation over the n runs of a combination.
The test images were scored once per run, with the weights of its best validation epoch,
and chose nothing. Seconds are those of training and validation.
"""


@dataclass(frozen=True, kw_only=True)
class SweepReport(Report):
    """A report, and what a person is shown of it.

    Attributes:
        table: of trials or their combinations, the best first; its notes say what failed.
        summary: the best in a sentence. command: what to type to run it again.
        best_runs: ids of the runs whose models are worth keeping, the best last.
        best: the parameters of the best, among those that were searched.
    """

    table: Table
    summary: str
    command: str | None = None
    best_runs: Sequence[str]
    best: Mapping[str, str] = field(default_factory=dict)
    failed: "Sequence[Outcome]"


def sweep_curves(plan: Plan) -> list[str]:
    """The metrics per epoch that `tabulate` needs."""
    return [f"val_{plan.metric}", "val_loss", "epoch_seconds"]


def tabulate(children: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """A row per trial, the best first; those that were pruned or failed behind the others.

    Args:
        children: a row per run of the sweep, with run_id, name, state, is_candidate, when it ended,
            and for each of `sweep_curves` a list with a value per epoch.

    Returns:
        Columns: trial, its number from 1, in the order of their end; state; the parameters of the
        space; epochs; best_val_METRIC, and best_val_loss in the epoch of that, nan without an
        epoch; seconds, of training and validation; run_id.
    """
    metric, score = plan.metric, f"best_val_{plan.metric}"
    rows = []
    trials = children[children["is_candidate"].astype(bool)].sort_values("ended", kind="stable")
    for number, trial in enumerate(trials.to_dict("records"), start=1):
        epochs = list(zip(trial[f"val_{metric}"], trial["val_loss"], strict=True))
        best = max(epochs, key=lambda e: (metric.signed(e[0]), -e[1]), default=(math.nan, math.nan))
        row = {"trial": number, "state": trial["state"], **plan.point_of(trial["name"])}
        row |= {"epochs": len(epochs), score: best[0], "best_val_loss": best[1]}
        rows.append(row | {"seconds": sum(trial["epoch_seconds"]), "run_id": trial["run_id"]})
    last = ["epochs", score, "best_val_loss", "seconds", "run_id"]
    return pd.DataFrame(rows, columns=["trial", "state", *plan.space, *last]).sort_values(
        ["state", score, "best_val_loss"],
        key=lambda column: column.map(_STATES) if column.name == "state" else column,
        ascending=[True, not metric.higher_is_better, True],
        kind="stable",
        ignore_index=True,
    )


def scored_points(tried: pd.DataFrame, plan: Plan) -> list[tuple[dict[str, Any], float]]:
    """The points of trials with a score, each with the score, signed so that higher is better."""
    score = f"best_val_{plan.metric}"
    return [
        ({name: trial[name] for name in plan.space}, plan.metric.signed(trial[score]))
        for trial in tried.to_dict("records")
        if not math.isnan(trial[score])
    ]


def best_point(tried: pd.DataFrame, plan: Plan) -> dict[str, Any]:
    """The point of the best trial that finished.

    Raises:
        TrackmlError: no trial has.
    """
    if "finished" not in set(tried["state"]):
        raise TrackmlError("no trial has finished, so none is the best")
    return scored_points(tried, plan)[0][0]


def importances(tried: pd.DataFrame, plan: Plan) -> dict[str, float]:
    """The share of the differences between finished trials that each parameter explains.

    By functional ANOVA: Hutter et al., An Efficient Approach for Assessing Hyperparameter
    Importance, ICML 2014. The largest first. Empty where there is nothing to explain.
    """
    finished = tried[tried["state"] == "finished"]
    if not finished[f"best_val_{plan.metric}"].var() > MIN_VARIANCE:
        return {}
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = study_of(plan.space, scored_points(finished, plan), sampler)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def report_sweep(
    plan: Plan, tried: pd.DataFrame, repeats: pd.DataFrame, failed: "Sequence[Outcome]"
) -> SweepReport:
    """Tables and figures of a sweep.

    Args:
        tried: as `tabulate` returns it.
        repeats: a row per run of the best point that was scored on the test data, with run_id,
            seed, best_val_METRIC and test_METRIC.
    """
    metric, val = plan.metric, f"best_val_{plan.metric}"
    columns = {
        **{name: _shown(name) for name in plan.space},
        f"val {metric}": number_of(val, ".4f"),
        "epochs": text_of("epochs"),
        "seconds": number_of("seconds", ".1f"),
        "state": text_of("state"),
    }
    hidden = len(tried) - MAX_ROWS
    more = [f"{hidden:,} more are in trials.csv"] if hidden > 0 else []
    table = Table(
        f"sweep of {plan.entry_point}", tried, columns, MAX_ROWS, [*more, *_notes(failed)]
    )
    best = best_point(tried, plan)
    order = repeats.sort_values(val, ascending=not metric.higher_is_better, kind="stable")
    command = plan.command(best, int(order["seed"].iloc[0]))
    # Not the validation score that chose the trial: the best of many is a little too good.
    scores = ", ".join(
        f"{split} {metric} {with_spread(repeats[column].mean(), repeats[column].std())}"
        for split, column in (("validation", val), ("test", f"test_{metric}"))
    )
    summary = f"best on validation: {name_of(best)}; run again: {scores} (n = {len(repeats)})"
    means = {column: float(repeats[column].mean()) for column in (val, f"test_{metric}")}
    counts = {state: int((tried["state"] == state).sum()) for state in _STATES}

    def plot_importances() -> "Figure | None":
        shares = importances(tried, plan)
        return figures.importances(shares, metric, counts["finished"]) if shares else None

    return SweepReport(
        metrics={
            f"trials_{state}": float(counts[state]) for state in ("finished", "pruned", "failed")
        }
        | means,
        texts={
            "trials.csv": table.as_csv,
            "sweep.md": partial(_page, table, summary, _SWEEP_NOTES.format(command)),
            "best_command.txt": lambda: f"{command}\n",
        },
        figures={
            "figures/optimization_history.png": partial(figures.history, tried, metric),
            "figures/parallel_coordinates.png": partial(
                figures.parallel_coordinates, tried, plan.space, metric
            ),
            "figures/parameter_importances.png": plot_importances,
        },
        table=table,
        summary=summary,
        command=command,
        best_runs=[order["run_id"].iloc[0]],
        best={name: str(value) for name, value in best.items()},
        failed=failed,
    )


def summarize(trials: pd.DataFrame, factors: Sequence[str]) -> pd.DataFrame:
    """A row per combination of factors, best first: mean validation accuracy, then lowest loss.

    Args:
        trials: a row per finished run, with its factors, SUITE_METRICS and seconds.

    Returns:
        Columns: the factors; n runs; of each score the mean and the sample standard deviation, nan
        for n = 1; of each cost the mean.
    """
    table = mean_and_std(trials, list(factors), [*_SCORES, *_COSTS, "best_val_loss"])
    table = table.sort_values(
        ["best_val_accuracy_mean", "best_val_loss_mean"], ascending=[False, True], kind="stable"
    )
    table = table.rename(columns={f"{cost}_mean": cost for cost in _COSTS}).reset_index()
    spreads = [f"{score}_{part}" for score in _SCORES for part in ("mean", "std")]
    return table[[*factors, "n", *spreads, *_COSTS]]


def best_runs(trials: pd.DataFrame, factors: Sequence[str]) -> list[str]:
    """The best run of the best combination of each value of the first factor, the best last.

    All by validation: combinations by the mean over their runs, runs by their own score.
    """
    combinations = summarize(trials, factors).drop_duplicates(factors[0])[list(factors)]
    ranked = trials.sort_values(
        ["best_val_accuracy", "best_val_loss"], ascending=[False, True], kind="stable"
    )
    runs = combinations.merge(ranked, on=list(factors)).drop_duplicates(factors[0])
    return list(runs["run_id"])[::-1]


def report_suite(
    title: str, children: pd.DataFrame, factors: tuple[str, str], failed: "Sequence[Outcome]"
) -> SweepReport:
    """Tables and figures of a suite.

    Args:
        children: a row per run, with run_id, state, its factors, SUITE_METRICS, and for each of
            SUITE_CURVES a list with a value per epoch.
    """
    trials = children[children["state"] == "finished"].reset_index(drop=True)
    trials["seconds"] = trials["epoch_seconds"].map(sum)
    data = summarize(trials, factors)
    columns = {
        **{name: text_of(name) for name in (*factors, "n")},
        "val accuracy": spread_of("best_val_accuracy"),
        "test accuracy": spread_of("test_accuracy"),
        "convergence epoch": number_of("convergence_epoch", ".1f"),
        "seconds": number_of("seconds", ".1f"),
    }
    table = Table(title, data, columns, notes=_notes(failed))
    *names, n, accuracy = table.rows[0][: len(factors) + 2]
    summary = f"best on validation: {' with '.join(names)}, accuracy {accuracy} (n = {n})"
    scores = {score: float(data[f"{score}_mean"].iloc[0]) for score in _SCORES}
    return SweepReport(
        metrics=scores,
        texts={
            "suite.csv": table.as_csv,
            "suite.md": partial(_page, table, summary, _SUITE_NOTES),
        },
        figures={
            "figures/heat_map.png": partial(figures.heat_map, data, *factors),
            "figures/validation_curves.png": partial(figures.validation_curves, trials, *factors),
        },
        table=table,
        summary=summary,
        best_runs=best_runs(trials, factors),
        best={name: str(data[name].iloc[0]) for name in factors},
        failed=failed,
    )


def _shown(column: str) -> Cell:
    return lambda row: shown(row[column])


def _notes(failed: "Sequence[Outcome]") -> list[str]:
    lines = [f"failed: {outcome.name}: {outcome.failure}" for outcome in failed]
    hint = f"{len(failed)} failed; the same command with --resume true tries again"
    return [*lines, hint] if failed else []


def _page(table: Table, summary: str, notes: str) -> str:
    return f"{table.as_markdown()}\n\n{summary}.\n{notes}"
