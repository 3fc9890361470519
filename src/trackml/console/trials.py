"""The view of a suite: a line per trial, and the table of all."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.table import Table

from trackml.console.bar import lines_above_bar, wide_console
from trackml.console.epochs import in_words
from trackml.params import Params

if TYPE_CHECKING:
    from rich.console import Console

    from trackml.sweep import Outcome, SuiteResult, TrialHook


@contextmanager
def progress(_params: Params) -> Iterator["TrialHook"]:
    """A hook that prints a line per trial that has ended, on a terminal above a bar."""
    with lines_above_bar("trial", None) as show:
        yield lambda outcome, done, total: show(_line(outcome, done, total), done, total)


def show_result(result: "SuiteResult", _params: Params) -> None:
    """Print the table, the winner, what failed, what was registered, how to look at it all."""
    from trackml.evaluation.suite import as_rows, describe_winner
    from trackml.tracking.store import ui_command

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
    for registration in result.registrations:
        for line in in_words(registration):
            console.print(line)
    if not result.registrations:
        console.print("not registered (--register false)")
    console.print(f"to compare runs: {ui_command()}")


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
