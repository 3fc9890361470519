"""Statistics over runs that differ only in their seed: mean, spread, confidence, rank."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from trackml.metrics import LATENCY, LOSS, METRICS, Metric

COSTS = ("epoch_seconds", "model_size_bytes", LATENCY)
SIGNIFICANT = 0.05
_CONFIGURATION = ["framework", "architecture", "configuration"]


def mean_and_std(runs: pd.DataFrame, by: str | list[str], columns: Sequence[str]) -> pd.DataFrame:
    """A row per group of runs: n, and NAME_mean and NAME_std of each column.

    The standard deviation is that of a sample, nan for n = 1. Means and deviations skip nan, which
    n counts. The index has the group keys; groups keep the order of their first runs.

    >>> runs = pd.DataFrame({"optimizer": ["sgd", "sgd"], "test_mae": [1.0, 3.0]})
    >>> mean_and_std(runs, "optimizer", ["test_mae"]).loc["sgd"].round(2).tolist()
    [2.0, 2.0, 1.41]
    """
    groups = runs.groupby(by, sort=False)
    table = pd.DataFrame({"n": groups.size()})
    for column in columns:
        table[f"{column}_mean"] = groups[column].mean()
        table[f"{column}_std"] = groups[column].std()
    return table


def on_the_same_rows(
    runs: pd.DataFrame, by: Sequence[str] = (), prefer: Literal["runs", "samples"] = "runs"
) -> pd.DataFrame:
    """The runs that were validated on the same rows: scores on different rows do not compare.

    In each group `by`, the rows of the most runs are chosen, or the most rows ("samples"); among
    equals the other one decides, then the order of the runs.

    Args:
        runs: with the columns rows (which ones), and validation_samples (how many).
    """
    groups = runs.groupby([*by, "rows"], sort=False)["validation_samples"]
    sizes = groups.agg(runs="size", samples="max").reset_index()
    order = [prefer, "samples" if prefer == "runs" else "runs"]
    sizes = sizes.sort_values(order, ascending=False, kind="stable")
    chosen = sizes.drop_duplicates(list(by)) if by else sizes.head(1)
    return runs.merge(chosen[[*by, "rows"]])


def main_metric(runs: pd.DataFrame) -> Metric:
    """The metric that ranked the epochs of most of these runs.

    A run that does not name it counts for each that it was validated by but the loss.
    """
    named = runs["ranked_by"] if "ranked_by" in runs else pd.Series(index=runs.index, dtype=object)

    def count(metric: Metric) -> int:
        unnamed = named.isna() & (metric != LOSS)
        return len(scored(runs[unnamed | (named == metric.name)], metric))

    return max(logged_metrics(runs).values(), key=count)


def logged_metrics(runs: pd.DataFrame) -> dict[str, Metric]:
    """METRICS by name, and the others that ranked the epochs of runs."""
    logged = runs.reindex(columns=["ranked_by", "higher_is_better"]).dropna().drop_duplicates()
    own = {name: Metric(name, bool(higher)) for name, higher in logged.itertuples(index=False)}
    return {**METRICS, **{name: metric for name, metric in own.items() if name not in METRICS}}


def scored(runs: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """The runs with a finite validation score."""
    column = f"best_val_{metric}"
    return runs[np.isfinite(runs[column])] if column in runs else runs.iloc[:0]


def best_configurations(runs: pd.DataFrame, min_runs: int) -> pd.DataFrame:
    """Of each architecture, the runs of its first configuration, as `rank` orders them.

    Each architecture is ranked by its own main metric.
    """
    chosen: list[str] = []
    for _, own in runs.groupby("architecture"):
        first = rank(own, main_metric(own), min_runs).head(1)
        chosen += " ".join(first["run_ids"]).split()
    return runs[runs["run_id"].isin(chosen)]


def left_out(runs: pd.DataFrame, chosen: pd.DataFrame, metric: Metric, min_runs: int) -> list[str]:
    """A line for each reason for which finished runs are not ranked.

    Args:
        runs: all runs of the task. chosen: those `on_the_same_rows`.
    """
    with_score = len(scored(runs, metric))
    single = chosen.drop_duplicates([*_CONFIGURATION, "seed"])
    reasons = {
        f"without a validation {metric}": len(runs) - with_score,
        "validated on other rows, so that scores do not compare": with_score - len(chosen),
        "older ones of the same seed": len(chosen) - len(single),
    }
    lines = [f"runs left out: {count:,}, {reason}" for reason, count in reasons.items() if count]
    if few := int((single.groupby(_CONFIGURATION).size() < min_runs).sum()):
        lines.append(f"configurations left out: {few:,}, with fewer than {min_runs} runs")
    return lines


def rank(runs: pd.DataFrame, metric: Metric, min_runs: int) -> pd.DataFrame:
    """A row per configuration, ranked by the mean of its validation scores, with its costs.

    Among equals the configuration with more runs is first. Of runs with the same seed, the first
    with a test score counts.

    Args:
        runs: as `on_the_same_rows` returns them: a row per run with framework, architecture,
            configuration, seed, run_id and best_val_METRIC; other columns may be missing or nan.
        min_runs: configurations with fewer runs are left out.

    Returns:
        Columns: rank, from 1; framework, architecture, configuration; n runs; val_mean and val_std,
        test_mean and test_std (sample standard deviations, nan for n = 1); test_n, runs with a test
        score; parameters; the means of COSTS; run_id, of the run that is best on validation;
        run_ids; test_low and test_high, the 95 % confidence interval of the mean by Student's t,
        nan for one run; p_value of Welch's test of the validation scores against those of rank 1,
        nan if one of them has n = 1, or each is constant; 1 if both are the same constant.
    """
    # The loss of a regression on the test rows is logged as what it is.
    is_mse = metric == LOSS and "test_loss" not in runs
    names = {f"best_val_{metric}": "val", "test_mse" if is_mse else f"test_{metric}": "test"}
    needed = [*_CONFIGURATION, "seed", "run_id", "parameters", *names, *COSTS]
    runs = runs.reindex(columns=needed).rename(columns=names)
    tested_first = runs.sort_values("test", key=pd.isna, kind="stable")
    single = tested_first.drop_duplicates([*_CONFIGURATION, "seed"])
    best_first = single.sort_values("val", key=metric.signed, ascending=False, kind="stable")
    table = mean_and_std(best_first, _CONFIGURATION, ["val", "test"])
    groups = best_first.groupby(_CONFIGURATION, sort=False)
    table["test_n"] = groups["test"].count()
    table["parameters"] = groups["parameters"].first()
    table[list(COSTS)] = groups[list(COSTS)].mean()
    table["run_id"] = groups["run_id"].first()
    table["run_ids"] = groups["run_id"].agg(" ".join)
    table = table[table["n"] >= min_runs]
    # Means of equal scores differ in their last digit, by how many there are.
    score = metric.signed(table["val_mean"].round(12))
    order = table.assign(score=score).sort_values(["score", "n"], ascending=False, kind="stable")
    table = table.loc[order.index].reset_index()
    table.insert(0, "rank", range(1, len(table) + 1))
    n = table["test_n"].where(table["test_n"] > 1)
    half = table["test_std"] * stats.t.ppf(0.975, n - 1) / np.sqrt(n)
    low, high = table["test_mean"] - half, table["test_mean"] + half
    return table.assign(test_low=low, test_high=high, p_value=_against_first(table))


def _against_first(table: pd.DataFrame) -> NDArray[np.float64]:
    """Two-sided p-values of Welch's test, each row's validation scores against the first row's."""
    if table.empty:
        return np.empty(0)
    mean, std, n = (table[name].to_numpy(float) for name in ("val_mean", "val_std", "n"))
    with np.errstate(invalid="ignore", divide="ignore"):
        p: NDArray[np.float64] = stats.ttest_ind_from_stats(
            mean, std, n, mean[0], std[0], n[0], equal_var=False
        ).pvalue
    no_spread = (std == 0) & (std[0] == 0)  # the test would divide by zero
    p = np.where(no_spread, np.where(np.isclose(mean, mean[0], 1e-12, 0), 1.0, np.nan), p)
    return np.where((n > 1) & (n[0] > 1), p, np.nan)
