"""The view of a sweep: a line per trial, the best ones, and what to type to run the best again."""

from typing import TYPE_CHECKING

from rich.table import Table

from trackml.console.bar import wide_console
from trackml.console.closing import close
from trackml.console.trials import note_failures, progress
from trackml.params import RunParams

if TYPE_CHECKING:
    from trackml.sweep import SweepResult

__all__ = ["progress", "show_result"]


def show_result(result: "SweepResult", params: RunParams) -> None:
    """Print the best trials, the scores of the best, what failed, and how to look at it all.

    Raises:
        TrackingIncomplete: after that, if the store does not have all of it.
    """
    from trackml.evaluation.sweep import as_rows, columns, describe_best

    console, found = wide_console(), result.findings
    rows = as_rows(found)
    table = Table(title=f"sweep of {found.pipeline}", title_justify="left")
    for name in columns(found):
        table.add_column(name, no_wrap=True, justify="left" if name == "state" else "right")
    for cells in rows:
        table.add_row(*cells)
    console.print(table)
    if len(found.tried) > len(rows):
        console.print(f"{len(found.tried) - len(rows):,} more are in trials.csv")
    console.print(describe_best(found))
    console.print(f"to run it again: {result.command}")
    note_failures(console, found.failed)
    close(console, result, [result.registration] if result.registration else [], params)
