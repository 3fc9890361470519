"""The view of a comparison: its table."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.table import Table

from trackml.console.bar import wide_console
from trackml.params import Params

if TYPE_CHECKING:
    from trackml.evaluation.models import Comparison


@contextmanager
def progress(_params: Params) -> Iterator[None]:
    """Nothing: it takes a moment."""
    yield None


def show_result(result: "Comparison", _params: Params) -> None:
    """Print the table, what is missing from it, and how to look at it all."""
    from trackml.evaluation.models import COLUMNS, as_rows
    from trackml.tracking.store import ui_command

    console = wide_console()
    table = Table(*COLUMNS)
    for column in table.columns[1:]:
        column.justify = "right"
    for cells in as_rows(result.table):
        table.add_row(*cells)
    console.print(table)
    for line in result.missing:
        console.print(line)
    console.print("n runs with seeds of their own, mean ± standard deviation; best on validation")
    console.print(f"to compare runs: {ui_command()}")
