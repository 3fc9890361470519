"""Lines as things get done, on a terminal above a bar that shows how far it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

WIDE = 130  # characters


def wide_console(width: int = WIDE) -> Console:
    """A console that prints texts as they are, and leaves it to the terminal to break lines.

    Args:
        width: what tables have room for, in characters, into a file or a pipe.
    """
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = width
    return console


@contextmanager
def lines_above_bar(unit: str, total: int | None) -> Iterator[Callable[[str, int, int], None]]:
    """A function that prints a line and moves the bar: (line, so many done, of so many).

    Args:
        total: None where it is not known yet.
    """
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        yield lambda line, _done, _total: print(line, flush=True)
        return
    columns = (TextColumn(unit), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(unit, total=total)

        def show(line: str, done: int, total: int) -> None:
            console.print(line, soft_wrap=True)
            bar.update(task, completed=done, total=total)

        yield show
