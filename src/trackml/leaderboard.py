"""Runs that differ in nothing but their seed are one configuration: how good it is, how sure."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from trackml.history import HIGHER_IS_BETTER, Metric

Score = Metric | Literal["loss"]
COSTS = ("epoch_seconds", "model_size_bytes", "prediction_seconds_per_1000")
SIGNIFICANT = 0.05
_CONFIGURATION = ["framework", "architecture", "configuration"]

VALIDATION_SCORES = ("best_val_accuracy", "best_val_map")  # of which a run has one; more is better


def comparable(runs: pd.DataFrame) -> pd.DataFrame:
    """Of each architecture, the runs that were validated on the same rows; others do not compare.

    On the most rows; among equals, those of the most runs, then of the first run.

    Args:
        runs: with the columns architecture, rows (which ones), and validation_samples (how many).
    """
    groups = runs.groupby(["architecture", "rows"], sort=False)["validation_samples"]
    of_rows = groups.agg(["max", "size"]).sort_values(
        ["max", "size"], ascending=False, kind="stable"
    )
    chosen = of_rows.reset_index()[["architecture", "rows"]].drop_duplicates("architecture")
    return runs.merge(chosen)


def best_configurations(runs: pd.DataFrame, min_runs: int) -> pd.DataFrame:
    """Of each architecture, the runs of its configuration that is best on validation.

    By the mean over its runs; among equals the one with more of them. Of runs with the same seed
    the first counts.

    Args:
        runs: as `comparable` gives them: a row per run with architecture, configuration, seed and,
            of VALIDATION_SCORES, one.
        min_runs: runs that a configuration needs to be considered.
    """
    single = runs.drop_duplicates(["architecture", "configuration", "seed"])
    known = single.reindex(columns=list(VALIDATION_SCORES))
    single = single.assign(score=known.bfill(axis=1).iloc[:, 0])
    groups = single.groupby(["architecture", "configuration"], as_index=False)
    scores = groups["score"].agg(["mean", "size"])
    enough = scores[scores["size"] >= min_runs]
    best = enough.sort_values(["mean", "size"], ascending=False).drop_duplicates("architecture")
    return single.merge(best[["architecture", "configuration"]])


def mean_and_spread(runs: pd.DataFrame, scores: Sequence[str]) -> pd.DataFrame:
    """A row per architecture: n runs; of each score the mean, and the sample standard deviation.

    The latter, NAME_std beside NAME_mean, is nan for n = 1.
    """
    groups = runs.groupby("architecture")
    table = pd.DataFrame({"n": groups.size()})
    for score in scores:
        table[f"{score}_mean"] = groups[score].mean()
        table[f"{score}_std"] = groups[score].std()
    return table


def main_score(runs: pd.DataFrame) -> Score:
    """The metric by which most of these runs were validated."""
    counts = {name: runs.get(f"best_val_{name}", pd.Series()).count() for name in HIGHER_IS_BETTER}
    return max(counts, key=lambda name: counts[name])


def scored(runs: pd.DataFrame, score: Score) -> pd.DataFrame:
    """The runs that have a number for the validation score."""
    column = f"best_val_{score}"
    return runs[np.isfinite(runs[column])] if column in runs else runs.iloc[:0]


def left_out(runs: pd.DataFrame, chosen: pd.DataFrame, score: Score, min_runs: int) -> list[str]:
    """A line for each reason for which finished runs are not ranked.

    Args:
        runs: all of the task. chosen: those `on_the_same_rows`.
    """
    known = len(scored(runs, score))
    single = chosen.drop_duplicates([*_CONFIGURATION, "seed"])
    few = single.groupby(_CONFIGURATION).size() < min_runs
    reasons = {
        f"runs left out: {len(runs) - known:,}, without a validation {score}": len(runs) - known,
        f"runs left out: {known - len(chosen):,}, validated on other rows, so that scores do not "
        "compare": known - len(chosen),
        f"runs left out: {len(chosen) - len(single):,}, older ones of the same seed": len(chosen)
        - len(single),
        f"configurations left out: {few.sum():,}, with fewer than {min_runs} runs": few.sum(),
    }
    return [reason for reason, count in reasons.items() if count]


def on_the_same_rows(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that were validated on the rows that most runs were: scores on others don't compare.

    Among equals, on the larger number of rows, then on those of the first run.

    Args:
        runs: with the columns rows (which ones), and validation_samples (how many).
    """
    sizes = runs.groupby("rows", sort=False)["validation_samples"].agg(["size", "max"])
    order = sizes.sort_values(["size", "max"], ascending=False, kind="stable")
    return runs[runs["rows"].isin(order.index[:1])]


def rank(runs: pd.DataFrame, score: Score, min_runs: int) -> pd.DataFrame:
    """A row per configuration, the best on validation first: how good, how sure, at what cost.

    By the mean over its runs; among equals the one with more of them. Of runs with the same seed
    the first counts that has a test score.

    Args:
        runs: as `on_the_same_rows` gives them: a row per run with framework, architecture,
            configuration, seed, run_id and best_val_SCORE; nan for what else a run does not have.
        min_runs: runs that a configuration needs to be considered.

    Returns:
        Columns: rank, from 1; framework, architecture, configuration; n runs; val_mean and val_std,
        test_mean and test_std (sample standard deviations, nan for n = 1); test_n, runs with a test
        score; test_low and test_high, the 95 % confidence interval of the mean by Student's t, nan
        for one run; parameters; the means of COSTS; p_value of Welch's test of the validation
        scores against those of rank 1, nan where one of them has n = 1 or both have no spread;
        run_id, of the run that is best on validation; run_ids.
    """
    val, test = f"best_val_{score}", _test_name(runs, score)
    lower_is_better = score == "loss" or not HIGHER_IS_BETTER[score]
    needed = [*_CONFIGURATION, "seed", "run_id", "parameters", val, test, *COSTS]
    runs = runs.reindex(columns=needed)
    tested_first = runs.sort_values(test, key=pd.isna, kind="stable")
    single = tested_first.drop_duplicates([*_CONFIGURATION, "seed"])
    best_first = single.sort_values(val, ascending=lower_is_better, kind="stable")
    groups = best_first.groupby(_CONFIGURATION, sort=False)
    table = pd.DataFrame({"n": groups.size()})
    for name, column in (("val", val), ("test", test)):
        table[f"{name}_mean"] = groups[column].mean()
        table[f"{name}_std"] = groups[column].std()
    table["test_n"] = groups[test].count()
    table["parameters"] = groups["parameters"].first()
    table[list(COSTS)] = groups[list(COSTS)].mean()
    table["run_id"] = groups["run_id"].first()
    table["run_ids"] = groups["run_id"].agg(" ".join)
    table = table[table["n"] >= min_runs]
    # Means of equal numbers differ in their last digit, by how many there are.
    order = table.assign(mean=table["val_mean"].round(12)).sort_values(
        ["mean", "n"], ascending=[lower_is_better, False], kind="stable"
    )
    table = table.loc[order.index]
    half = _half_interval(table["test_std"], table["test_n"])
    table = table.assign(
        test_low=table["test_mean"] - half,
        test_high=table["test_mean"] + half,
        p_value=_against_first(table),
    ).reset_index()
    table.insert(0, "rank", range(1, len(table) + 1))
    return table


def _test_name(runs: pd.DataFrame, score: Score) -> str:
    """A regression's loss on the test rows has the name of what it is."""
    return "test_mse" if score == "loss" and "test_loss" not in runs else f"test_{score}"


def _half_interval(std: "pd.Series[float]", n: "pd.Series[int]") -> "pd.Series[float]":
    enough = n.where(n > 1)
    half: pd.Series[float] = std * stats.t.ppf(0.975, enough - 1) / np.sqrt(enough)
    return half


def _against_first(table: pd.DataFrame) -> NDArray[np.float64]:
    """Two-sided p-values of Welch's test, each row's validation scores against the first's."""
    if table.empty:
        return np.empty(0)
    mean, std, n = (table[name].to_numpy(float) for name in ("val_mean", "val_std", "n"))
    with np.errstate(invalid="ignore", divide="ignore"):
        p: NDArray[np.float64] = stats.ttest_ind_from_stats(
            mean, std, n, mean[0], std[0], n[0], equal_var=False
        ).pvalue
    without_spread = (std == 0) & (std[0] == 0)  # which the test would divide by
    p = np.where(without_spread, np.where(np.isclose(mean, mean[0], 1e-12, 0), 1.0, np.nan), p)
    return np.where((n > 1) & (n[0] > 1), p, np.nan)
