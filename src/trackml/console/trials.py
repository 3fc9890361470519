"""The view of a suite: a line per trial, and the table of all."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.table import Table

from trackml.console.bar import lines_above_bar, wide_console
from trackml.console.closing import close
from trackml.params import Params, RunParams

if TYPE_CHECKING:
    from rich.console import Console

    from trackml.sweep import SuiteResult
    from trackml.trial import Outcome
    from trackml.tuning import TrialHook


@contextmanager
def progress(_params: Params) -> Iterator["TrialHook"]:
    """A hook that prints a line per trial that has ended, on a terminal above a bar."""
    with lines_above_bar("trial", None) as show:
        yield lambda outcome, done, total: show(_line(outcome, done, total), done, total)


def show_result(result: "SuiteResult", params: RunParams) -> None:
    """Print the table, the winner, what failed, what was registered, how to look at it all.

    Raises:
        TrackingIncomplete: after that, if the store does not have all of it.
    """
    from trackml.evaluation.suite import as_rows, describe_winner

    console = wide_console()
    scores, costs = ("val accuracy", "test accuracy"), ("converged", "seconds")
    table = Table(*result.factors, "n", *scores, *costs, title=result.name, title_justify="left")
    for number, column in enumerate(table.columns):
        column.no_wrap = True
        column.justify = "left" if number < len(result.factors) else "right"
    for cells in as_rows(result.table, result.factors):
        table.add_row(*cells)
    console.print(table)
    console.print(describe_winner(result.table, result.factors))
    note_failures(console, result.failed)
    close(console, result, result.registrations, params)


def note_failures(console: "Console", failed: "Sequence[Outcome]") -> None:
    """Print which trials failed, why, and what to do about it."""
    for outcome in failed:
        console.print(f"failed: {outcome.name}: {outcome.failure}")
    if failed:
        console.print(f"{len(failed)} failed; the same command with --resume true tries again")


def _line(outcome: "Outcome", done: int, total: int) -> str:
    number = f"trial {done:>{len(str(total))}}/{total}  {outcome.name}"
    if outcome.failure:
        return f"{number}  failed: {outcome.failure}"
    if outcome.pruned_after:
        return f"{number}  pruned after epoch {outcome.pruned_after}  {outcome.seconds:.1f} s"
    scores = [
        f"{name} {value:g}" if name.endswith("_epoch") else f"{name} {value:.4f}"
        for name, value in outcome.summary.items()
    ]
    return "  ".join([number, *scores, f"{outcome.seconds:.1f} s"])
