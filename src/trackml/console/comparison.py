"""The view of a comparison: its tables."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.table import Table

from trackml.console.bar import wide_console
from trackml.params import Params

if TYPE_CHECKING:
    from trackml.evaluation.leaderboard import Leaderboard

_WIDTH = 200  # a leaderboard has many columns


@contextmanager
def progress(_params: Params) -> Iterator[None]:
    """Nothing: it takes seconds."""
    yield None


def show_result(result: "Leaderboard", _params: Params) -> None:
    """Print the leaderboard, what is missing from it, and how to look at it all."""
    from trackml.evaluation import leaderboard, models
    from trackml.tracking.store import ui_command

    console = wide_console(_WIDTH)
    rows = leaderboard.as_rows(result.table)
    title = f"{result.task}, by {result.score} on validation"
    console.print(_table(leaderboard.COLUMNS, rows, title))
    if len(result.table) > len(rows):
        console.print(f"{len(result.table) - len(rows):,} more are in leaderboard.csv")
    for line in result.left_out:
        console.print(line)
    if result.models:
        console.print(_table(models.COLUMNS, models.as_rows(result.models.table), "side by side"))
        for line in result.models.missing:
            console.print(line)
    console.print("n runs with seeds of their own, mean ± standard deviation; best on validation")
    console.print(f"to compare runs: {ui_command()}")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> Table:
    table = Table(*columns, title=title, title_justify="left")
    for column, cells in zip(table.columns, zip(*rows, strict=True), strict=True):
        if all(cell == "-" or cell[:1].isdigit() for cell in cells):
            column.justify = "right"
    for line in rows:
        table.add_row(*line)
    return table
