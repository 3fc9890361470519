"""Runs that differ in nothing but their seed are one configuration: how good it is, how sure."""

from collections.abc import Sequence

import pandas as pd

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
