"""What the runs of a suite say: which combination is best, how sure that is, what it costs."""

from collections.abc import Sequence

import pandas as pd

from trackml.evaluation.figures import suite as figures
from trackml.evaluation.report import Report, with_spread

SCORES = ("best_val_accuracy", "test_accuracy")
COSTS = ("convergence_epoch", "seconds")
METRICS = (*SCORES, "best_val_loss", "convergence_epoch")  # of each run: what its run has logged


def summarise(trials: pd.DataFrame, factors: Sequence[str]) -> pd.DataFrame:
    """A row per combination of factors, best first: mean validation accuracy, then lowest loss.

    Args:
        trials: a row per finished run, with columns of its factors, of SCORES and COSTS, and
            best_val_loss.

    Returns:
        Columns: the factors; n runs; of each score the mean and the sample standard deviation, nan
        for n = 1; of each cost the mean.
    """
    groups = trials.groupby(list(factors))
    table = pd.DataFrame({"n": groups.size()})
    for score in SCORES:
        table[f"{score}_mean"] = groups[score].mean()
        table[f"{score}_std"] = groups[score].std()
    for cost in COSTS:
        table[cost] = groups[cost].mean()
    loss = groups["best_val_loss"].mean()
    order = table.assign(loss=loss).sort_values(
        ["best_val_accuracy_mean", "loss"], ascending=[False, True], kind="stable"
    )
    return table.loc[order.index].reset_index()


def winners(trials: pd.DataFrame, factors: Sequence[str]) -> pd.DataFrame:
    """The best run of the best combination of each value of the first factor, the best last.

    All by validation: combinations by the mean over their runs, runs by their own score.

    Args:
        trials, factors: as for `summarise`.
    """
    best = summarise(trials, factors).drop_duplicates(factors[0])
    ranked = trials.sort_values(
        ["best_val_accuracy", "best_val_loss"], ascending=[False, True], kind="stable"
    )
    chosen = best[list(factors)].merge(ranked, on=list(factors), how="left")
    return chosen.drop_duplicates(factors[0])[::-1].reset_index(drop=True)


def report_suite(
    trials: pd.DataFrame, factors: tuple[str, str], failures: Sequence[str] = ()
) -> Report:
    """Tables and figures of a suite.

    Args:
        trials: as for `summarise`, and val_accuracy, a list with a value per epoch.
        failures: a line for each trial that failed.
    """
    table = summarise(trials, factors)
    return Report(
        texts={
            "suite.csv": table.to_csv(index=False),
            "suite.md": _as_markdown(table, factors, failures),
        },
        figures={
            "figures/heat_map.png": figures.heat_map(table, *factors),
            "figures/validation_curves.png": figures.validation_curves(trials, *factors),
        },
    )


def describe_winner(table: pd.DataFrame, factors: Sequence[str]) -> str:
    """The first row of a summary in words."""
    first = table.iloc[0]
    return (
        f"best on validation: {' with '.join(first[name] for name in factors)}, "
        f"accuracy {with_spread(first['best_val_accuracy_mean'], first['best_val_accuracy_std'])} "
        f"(n = {first['n']})"
    )


def as_rows(table: pd.DataFrame, factors: Sequence[str]) -> list[list[str]]:
    """A summary as people read it: the factors, n, the scores with their spread, the costs."""
    return [
        [
            *(row[name] for name in factors),
            str(row["n"]),
            *(with_spread(row[f"{score}_mean"], row[f"{score}_std"]) for score in SCORES),
            *(f"{row[cost]:.1f}" for cost in COSTS),
        ]
        for _, row in table.iterrows()
    ]


def _as_markdown(table: pd.DataFrame, factors: Sequence[str], failures: Sequence[str]) -> str:
    columns = [*factors, "n", "best validation accuracy", "test accuracy of that epoch"]
    lines = [
        "| " + " | ".join([*columns, "convergence epoch", "seconds"]) + " |",
        "|" + "---|" * len(factors) + "---:|" * 5,
        *("| " + " | ".join(cells) + " |" for cells in as_rows(table, factors)),
    ]
    notes = [
        describe_winner(table, factors) + ".",
        "",
        "Mean ± standard deviation over the n runs of a combination.",
        "The test images were scored once per run, with the weights of its best validation epoch,",
        "and chose nothing. Seconds are those of training and validation.",
    ]
    failed = ["", f"{len(failures)} failed:", "", *(f"- {line}" for line in failures)]
    return "\n".join([*lines, "", *notes, *(failed if failures else []), ""])
