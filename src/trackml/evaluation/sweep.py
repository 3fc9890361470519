"""What the trials of a sweep say: which point is best, how it was found, what mattered."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna
import pandas as pd

from trackml.distributions import distributions
from trackml.errors import TrackmlError
from trackml.evaluation.figures import sweep as figures
from trackml.evaluation.report import Report, with_spread
from trackml.history import HIGHER_IS_BETTER, Metric
from trackml.space import Space, name_of, shown, values_of

if TYPE_CHECKING:
    from trackml.trial import Outcome

SHOWN = 10  # trials that a person is shown, the best ones; all of them are in trials.csv


@dataclass(frozen=True)
class Findings:
    """What a sweep has found.

    Attributes:
        tried: as `tabulate` gives it.
        best: the values of the best point.
        scored: a row per run of the best point that was scored on the test data, with run_id, seed,
            best_val_METRIC and test_METRIC.
    """

    pipeline: str
    metric: Metric
    space: Space
    tried: pd.DataFrame
    best: Mapping[str, Any]
    scored: pd.DataFrame
    failed: "Sequence[Outcome]"

    @property
    def best_run(self) -> "pd.Series[Any]":
        """The row of `scored` that is best on validation."""
        column = f"best_val_{self.metric}"
        order = self.scored.sort_values(
            column, ascending=not HIGHER_IS_BETTER[self.metric], kind="stable"
        )
        return order.iloc[0]


def curves_of(metric: Metric) -> list[str]:
    """What `tabulate` wants to know of each epoch."""
    return [f"val_{metric}", "val_loss", "epoch_seconds"]


def tabulate(children: pd.DataFrame, space: Space, metric: Metric) -> pd.DataFrame:
    """A row per trial, the best first; those that were pruned or have failed behind the others.

    Args:
        children: a row per run of the sweep, with run_id, name, state, is_candidate, when it ended,
            and for each of `curves_of` a list with a value per epoch.

    Returns:
        Columns: trial, its number from 1, in the order of their end; state; the parameters of the
        space; epochs; best_val_METRIC, and best_val_loss in the epoch of that, nan without an
        epoch; seconds, of training and validation; run_id.
    """
    trials = children[children["is_candidate"]].sort_values("ended", kind="stable")
    rows = [
        {
            "trial": number,
            "state": trial["state"],
            **values_of(trial["name"], space),
            **_summary(trial, metric),
            "seconds": sum(trial["epoch_seconds"]),
            "run_id": trial["run_id"],
        }
        for number, (_, trial) in enumerate(trials.iterrows(), start=1)
    ]
    score = f"best_val_{metric}"
    known = ["trial", "state", *space, "epochs", score, "best_val_loss", "seconds", "run_id"]
    table = pd.DataFrame(rows, columns=known)
    place = table["state"].map({"finished": 0, "pruned": 1}).fillna(2)
    return (
        table.assign(place=place)
        .sort_values(
            ["place", score, "best_val_loss"],
            ascending=[True, not HIGHER_IS_BETTER[metric], True],
            kind="stable",
            ignore_index=True,
        )
        .drop(columns="place")
    )


def _summary(trial: "pd.Series[Any]", metric: Metric) -> dict[str, float]:
    scores, losses = trial[f"val_{metric}"], trial["val_loss"]
    sign = -1 if HIGHER_IS_BETTER[metric] else 1
    best = min(((sign * s, loss) for s, loss in zip(scores, losses, strict=True)), default=None)
    score, loss = best or (math.nan, math.nan)
    return {
        "epochs": len(scores),
        f"best_val_{metric}": sign * score,
        "best_val_loss": loss,
    }


def best_point(tried: pd.DataFrame, space: Space) -> dict[str, Any]:
    """The values of the best trial that finished.

    Raises:
        TrackmlError: none has.
    """
    if tried.empty or tried["state"].iloc[0] != "finished":
        raise TrackmlError("no trial has finished, so none is the best")
    first = tried[list(space)].astype(object).iloc[0]
    return {str(name): value for name, value in first.items()}


LEAST_VARIANCE = 1e-20  # of scores: what is less is no difference, and fANOVA refuses it


def importances(tried: pd.DataFrame, space: Space, metric: Metric) -> dict[str, float]:
    """What share of the differences between finished trials each parameter explains.

    By functional ANOVA: Hutter et al., An Efficient Approach for Assessing Hyperparameter
    Importance, ICML 2014. The largest first. Empty where there is nothing to explain.
    """
    known = tried[tried["state"] == "finished"]
    scores = known[f"best_val_{metric}"]
    if not scores.var() > LEAST_VARIANCE:
        return {}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    points = known[list(space)].astype(object).to_dict("records")
    for point, value in zip(points, scores, strict=True):
        params = {str(name): one for name, one in point.items()}
        study.add_trial(
            optuna.trial.create_trial(
                params=params, distributions=distributions(space), value=float(value)
            )
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def report_sweep(found: Findings, command: str) -> Report:
    """Tables and figures of a sweep.

    Args:
        command: what to type to run the best point again.
    """
    tried, space, metric = found.tried, found.space, found.metric
    drawn = {
        "figures/optimization_history.png": figures.history(tried, metric),
        "figures/parallel_coordinates.png": figures.parallel_coordinates(tried, space, metric),
    }
    counts = tried["state"].value_counts()
    if shares := importances(tried, space, metric):
        drawn["figures/parameter_importances.png"] = figures.importances(
            shares, metric, int(counts["finished"])
        )
    states = ("finished", "pruned", "failed")
    return Report(
        metrics={f"trials_{state}": float(counts.get(state, 0)) for state in states},
        texts={
            "trials.csv": tried.to_csv(index=False),
            "sweep.md": _as_markdown(found, command),
            "best_command.txt": command + "\n",
        },
        figures=drawn,
    )


def describe_best(found: Findings) -> str:
    """How good the best point is, in words: on validation, on the test data, and of how many runs.

    Validation scores of the very trial that was chosen for them are a little too good; the test
    scores are not.
    """
    score, n = found.metric, len(found.scored)
    named = {"validation": f"best_val_{score}", "test": f"test_{score}"}
    words = (
        f"{split} {score} " + with_spread(found.scored[column].mean(), found.scored[column].std())
        for split, column in named.items()
    )
    return f"best on validation: {name_of(found.best)}; run again: {', '.join(words)} (n = {n})"


def columns(found: Findings) -> list[str]:
    """Of `as_rows`."""
    return [*found.space, f"val {found.metric}", "epochs", "seconds", "state"]


def as_rows(found: Findings) -> list[list[str]]:
    """The best trials as people read them."""
    return [
        [
            *(shown(row[name]) for name in found.space),
            "-"
            if math.isnan(row[f"best_val_{found.metric}"])
            else f"{row[f'best_val_{found.metric}']:.4f}",
            str(row["epochs"]),
            f"{row['seconds']:.1f}",
            row["state"],
        ]
        for _, row in found.tried.head(SHOWN).iterrows()
    ]


def _as_markdown(found: Findings, command: str) -> str:
    heads = columns(found)
    lines = [
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * len(heads),
        *("| " + " | ".join(cells) + " |" for cells in as_rows(found)),
    ]
    notes = [
        describe_best(found) + ".",
        "",
        "Mean ± standard deviation over the n runs. The trials were compared on validation data,",
        "and none has seen the test data; the best was run again and scored on them, once per run.",
        "",
        f"    {command}",
    ]
    failed = [f"- {outcome.name}: {outcome.failure}" for outcome in found.failed]
    of_failed = ["", f"{len(failed)} failed:", "", *failed] if failed else []
    return "\n".join([*lines, "", *notes, *of_failed, ""])
