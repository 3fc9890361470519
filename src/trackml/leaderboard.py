"""Runs that differ in nothing but their seed are one configuration: how good it is, how sure."""

from collections.abc import Sequence

import pandas as pd

VALIDATION_SCORES = ("best_val_accuracy", "best_val_map")  # of which a run has one; more is better


def best_configurations(runs: pd.DataFrame, min_runs: int) -> pd.DataFrame:
    """Of each architecture, the runs of its configuration that is best on validation.

    By the mean over its runs; among equals the one with more of them. Only those count that were
    validated on the same rows as most of the architecture's runs, as others do not compare; and of
    runs with the same seed the first.

    Args:
        runs: a row per run with architecture, rows (on which it was validated), configuration,
            seed and, of VALIDATION_SCORES, one.
        min_runs: runs that a configuration needs to be considered.
    """
    usual = runs.groupby("architecture")["rows"].agg(lambda rows: rows.mode().iloc[0])
    comparable = runs[runs["rows"] == runs["architecture"].map(usual)]
    single = comparable.drop_duplicates(["architecture", "configuration", "seed"])
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
