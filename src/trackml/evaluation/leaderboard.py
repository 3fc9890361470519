"""One table of all configurations of a task: which is best, how sure that is, what it costs."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

import pandas as pd

from trackml.evaluation.figures import leaderboard as figures
from trackml.evaluation.models import Comparison
from trackml.evaluation.report import Report, with_spread
from trackml.leaderboard import SIGNIFICANT, Score

SHOWN = 20  # configurations, in what people read
CURVES = 8
LABEL = 40  # characters of what differs, in figures
_FOLLOWS = ("model_parameters", "train_samples", "test_samples", "validation_samples")
COLUMNS = (
    *("rank", "architecture", "framework", "n", "validation", "test", "95 % interval"),
    *("against first", "parameters", "s/epoch", "MB", "s/1,000", "differs in"),
)
NOTES = (
    "Runs that are equal but for the seed are one configuration: in all parameters that have an",
    "effect, the data, and what `auto` became (device, precision); n is how many there are.",
    "Mean ± standard deviation over them, ranked by validation: the test set chose nothing.",
    "The interval is that of the test mean, by Student's t. Against the first: Welch's test of the",
    f"validation scores, within noise if p >= {SIGNIFICANT}, not corrected for how many there are;",
    "with n = 1 nobody knows. Parameters are those trained; s/epoch are the seconds of the last",
    "epoch, s/1,000 those to answer as many inputs, both on the machine of each run.",
)


@dataclass(frozen=True)
class Leaderboard:
    """The configurations of a task as `trackml.leaderboard.rank` has them, and what is not there.

    `left_out` has a line for each reason for which runs are not in it; `models` are those that are
    also shown side by side.
    """

    task: str
    score: Score
    table: pd.DataFrame
    left_out: Sequence[str] = ()
    models: Comparison | None = None


def verdict(row: "pd.Series[Any]") -> str:
    """How a configuration compares with the first one."""
    if row["rank"] == 1:
        return "first"
    p_value = float(row["p_value"])
    if math.isnan(p_value):
        return "not known"
    return "within noise" if p_value >= SIGNIFICANT else f"worse (p = {p_value:.2g})"


def differences(table: pd.DataFrame) -> list[str]:
    """Of each configuration, the parameters in which those of its architecture differ."""
    settings = [_settings(text) for text in table["configuration"]]
    words = []
    for own, architecture in zip(settings, table["architecture"], strict=True):
        others = [
            each
            for each, name in zip(settings, table["architecture"], strict=True)
            if name == architecture
        ]
        names = dict.fromkeys(name for each in (own, *others) for name in each)
        differing = [name for name in names if len({str(each.get(name)) for each in others}) > 1]
        words.append(", ".join(f"{name}={_short(own[name])}" for name in differing if name in own))
    return words


def _settings(configuration: str) -> dict[str, object]:
    """What a person chose, and what `auto` became; not what follows from that."""
    params, (_data, device, precision) = json.loads(configuration)
    became = {"device": device, "precision": precision}
    return {name: value for name, value in (params | became).items() if name not in _FOLLOWS}


def as_rows(table: pd.DataFrame) -> list[list[str]]:
    """The first SHOWN configurations as people read them, in COLUMNS."""
    shown = table.head(SHOWN)
    return [
        [
            str(row["rank"]),
            str(row["architecture"]),
            str(row["framework"]),
            str(row["n"]),
            with_spread(row["val_mean"], row["val_std"]),
            _or_dash(_test(row), row["test_mean"]),
            _or_dash(f"{row['test_low']:.4f} to {row['test_high']:.4f}", row["test_low"]),
            verdict(row),
            _or_dash(f"{row['parameters']:,.0f}", row["parameters"]),
            _or_dash(f"{row['epoch_seconds']:.3g}", row["epoch_seconds"]),
            _or_dash(f"{row['model_size_bytes'] / 1e6:.3g}", row["model_size_bytes"]),
            _or_dash(
                f"{row['prediction_seconds_per_1000']:.2g}", row["prediction_seconds_per_1000"]
            ),
            words,
        ]
        for (_, row), words in zip(shown.iterrows(), differences(shown), strict=True)
    ]


def report_leaderboard(board: Leaderboard, curves: Mapping[int, Mapping[int, float]]) -> Report:
    """The leaderboard as CSV, Markdown and figures.

    Args:
        curves: rank → epoch → validation score, of the runs whose curves are drawn.
    """
    table = board.table
    rows = as_rows(table)
    lines = [
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
        *("| " + " | ".join(map(_cell, cells)) + " |" for cells in rows),
    ]
    more = len(table) - len(rows)
    left_out = [f"- {line}" for line in board.left_out]
    if more:
        left_out.append(f"- {more:,} more configurations are in leaderboard.csv")
    title = f"# {board.task}, by {board.score} on validation"
    names = [_label(cells[0], cells[1], cells[-1]) for cells in rows]
    return Report(
        texts={
            "leaderboard.csv": table.to_csv(index=False),
            "leaderboard.md": "\n".join([title, "", *lines, "", *left_out, "", *NOTES, ""]),
        },
        figures={
            "figures/ranking.png": figures.ranking(table.head(SHOWN), names, board.score),
            "figures/learning_curves.png": figures.curves(
                {names[number - 1]: curve for number, curve in curves.items()}, board.score
            ),
            "figures/cost.png": figures.cost(table.head(SHOWN), board.score),
        },
    )


def _test(row: "pd.Series[Any]") -> str:
    of_fewer = f" (n = {row['test_n']})" if row["test_n"] != row["n"] else ""
    return with_spread(row["test_mean"], row["test_std"]) + of_fewer


def _label(rank: str, architecture: str, differences: str) -> str:
    words = shorten(differences, LABEL, placeholder=" …")
    return f"{rank}. {architecture}" + (f", {words}" if words else "")


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _or_dash(text: str, value: float) -> str:
    return "-" if math.isnan(value) else text
