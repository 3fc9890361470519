"""One table of all configurations of a task: which is best, how sure that is, what it costs."""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from textwrap import wrap
from typing import Any

import pandas as pd

from trackml.comparison import figures
from trackml.comparison.statistics import (
    SIGNIFICANT,
    left_out,
    logged_metrics,
    main_metric,
    on_the_same_rows,
    rank,
    scored,
)
from trackml.errors import TrackmlError, UsageError
from trackml.evaluation.report import Report, Table, number_of, spread_of, text_of, with_spread
from trackml.metrics import LATENCY, Metric

MAX_ROWS = 20
MAX_CURVES = 8
UNKNOWN = "unknown"
UNSURE = "against first: unknown where n = 1; each needs two seeds"
MAX_LABEL = 60  # characters of a line of a label in figures
_DERIVED = ("model_parameters", "train_samples", "test_samples", "validation_samples")
NOTES = (
    "Runs that differ only in their seed are one configuration: they have the same data, device,",
    "precision, and parameters that affect the result; n is how many there are. Scores are mean ±",
    "standard deviation over them. Validation scores rank; test scores have no influence. The",
    "interval is that of the test mean, by Student's t. Against first: Welch's test of validation",
    f"scores, within noise if p >= {SIGNIFICANT}, not corrected for multiple comparisons; unknown",
    "for n = 1. Parameters are the trained ones. s/epoch is the time of the last epoch, s/1,000",
    "the time to predict 1,000 inputs, both on the machine of each run.",
)


def rank_task(
    task: str,
    runs: pd.DataFrame,
    tasks_with_runs: Callable[[], Sequence[str]],
    metric: str = "auto",
    min_runs: int = 1,
) -> tuple[Table, Metric]:
    """The leaderboard of a task, and the metric that ranks it: "auto" is the task's own.

    Args:
        runs: as `runs.run_table` returns them.
        tasks_with_runs: asked for other tasks if there is nothing to compare.

    Raises:
        UsageError: no run has such a metric.
        TrackmlError: there is nothing to compare.
    """
    metrics = {"auto": main_metric(runs), **logged_metrics(runs)}
    if metric not in metrics:
        raise UsageError(f"--metric {metric}: expected {' or '.join(metrics)}")
    ranking = metrics[metric]
    board = leaderboard(task, runs, ranking, min_runs)
    if board.data.empty:
        why = "; ".join(board.notes) or f"there are no finished runs of {task}"
        tasks = ", ".join(tasks_with_runs()) or "none"
        raise TrackmlError(f"nothing to compare: {why}; tasks that have runs: {tasks}")
    return board, ranking


def leaderboard(task: str, runs: pd.DataFrame, metric: Metric, min_runs: int) -> Table:
    """All configurations of a task, ranked; the notes count the runs that are left out.

    Args:
        runs: as `runs.run_table` returns them.
    """
    compared = on_the_same_rows(scored(runs, metric))
    ranking = rank(compared, metric, min_runs)
    reasons = left_out(runs, compared, metric, min_runs)
    return as_table(f"{task}, by {metric} on validation", ranking, reasons)


def as_frame(board: Table) -> pd.DataFrame:
    """All of a leaderboard as numbers, by rank, with the differences instead of configurations."""
    data = board.data.set_index("rank")
    data.insert(3, "differs_in", differences(data))
    return data.drop(columns="configuration")


def as_table(title: str, ranking: pd.DataFrame, left_out: Sequence[str] = ()) -> Table:
    """A ranking, as `statistics.rank` returns it, as people read it."""
    shown = ranking.head(MAX_ROWS)
    differing = dict(zip(shown["rank"], differences(shown), strict=True))
    columns = {
        **{name: text_of(name) for name in ("rank", "architecture", "framework", "n")},
        "validation": spread_of("val"),
        "test": _test,
        "95 % interval": _interval,
        "against first": verdict,
        "parameters": number_of("parameters", ",.0f"),
        "s/epoch": number_of("epoch_seconds", ".3g"),
        "MB": number_of("model_size_bytes", ".3g", 1e6),
        "s/1,000": number_of(LATENCY, ".2g"),
        "differs in": lambda row: differing[row["rank"]],
    }
    hidden = len(ranking) - len(shown)
    more = [f"{hidden:,} more configurations are in leaderboard.csv"] if hidden else []
    single = [UNSURE] if UNKNOWN in map(verdict, ranking.to_dict("records")) else []
    return Table(title, ranking, columns, MAX_ROWS, [*left_out, *more, *single])


def _test(row: "pd.Series[Any]") -> str:
    of_fewer = f" (n = {row['test_n']})" if 0 < row["test_n"] < row["n"] else ""
    return with_spread(row["test_mean"], row["test_std"]) + of_fewer


def _interval(row: "pd.Series[Any]") -> str:
    low, high = row["test_low"], row["test_high"]
    return "-" if math.isnan(low) else f"{low:.4f} to {high:.4f}"


def verdict(row: "Mapping[Any, Any] | pd.Series[Any]") -> str:
    """How a configuration compares with the first one."""
    if row["rank"] == 1:
        return "first"
    p_value = float(row["p_value"])
    if math.isnan(p_value):
        return UNKNOWN
    return "within noise" if p_value >= SIGNIFICANT else f"worse (p = {p_value:.2g})"


def differences(ranking: pd.DataFrame) -> list[str]:
    """Of each configuration, the parameters in which those of its architecture differ.

    No two of an architecture have the same text.
    """
    texts = pd.Series("", ranking.index)
    for _, rows in ranking.groupby("architecture"):
        settings = [*map(_settings, rows["configuration"], rows["framework"])]
        # All digits if few tell no more apart. The number of trained weights follows from
        # parameters, but in code that has changed.
        for digits, without in ((4, _DERIVED), (17, _DERIVED), (17, ())):
            own = _texts(settings, digits, without)
            if len({*own}) == len(own):
                break
        texts[rows.index] = pd.Series(own, rows.index)
    return list(texts)


def _texts(
    settings: Sequence[Mapping[str, object]], digits: int, without: Sequence[str]
) -> list[str]:
    names = dict.fromkeys(name for each in settings for name in each if name not in without)
    differing = {
        name for name in names if len({str(each[name]) for each in settings if name in each}) > 1
    }

    def texts() -> list[str]:
        shown = [name for name in names if name in differing]
        return [
            ", ".join(f"{name}={_short(each[name], digits)}" for name in shown if name in each)
            for each in settings
        ]

    # What has no effect is not logged: that one has it, and another not, follows from what is
    # shown, unless nothing else tells them apart.
    alike = defaultdict(list)
    for text, each in zip(texts(), settings, strict=True):
        alike[text].append(each)
    for group in alike.values():
        differing |= {name for name in names if len({name in each for each in group}) > 1}
    return texts()


def _settings(configuration: str, framework: str) -> dict[str, object]:
    """The parameters, and the device and precision that `auto` became."""
    params, (_data, device, precision) = json.loads(configuration)
    return {**params, "device": device, "precision": precision, "framework": framework}


def _short(value: object, digits: int) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if value.is_integer() else f"{value:.{digits}g}"


def report_leaderboard(
    table: Table, metric: Metric, curves: Mapping[int, Mapping[int, float]]
) -> Report:
    """The leaderboard as CSV, Markdown and figures.

    Args:
        curves: rank → epoch → validation score.
    """
    shown = table.data.head(table.max_rows)
    names = [_label(row[0], row[1], row[-1]) for row in table.rows]
    by_name = {names[number - 1]: curve for number, curve in curves.items()}

    def page() -> str:
        return "\n".join([f"# {table.title}", "", table.as_markdown(), "", *NOTES, ""])

    return Report(
        texts={"leaderboard.csv": table.as_csv, "leaderboard.md": page},
        figures={
            "figures/ranking.png": partial(figures.ranking, shown, names, metric, len(table.data)),
            "figures/learning_curves.png": partial(figures.curves, by_name, metric),
            "figures/cost.png": partial(figures.cost, shown, metric),
        },
    )


def _label(rank: str, architecture: str, differences: str) -> str:
    """All differences, in lines that leave room for the figure."""
    label = f"{rank}. {architecture}" + f", {differences}" * bool(differences)
    return "\n".join(wrap(label, MAX_LABEL, break_long_words=False))
