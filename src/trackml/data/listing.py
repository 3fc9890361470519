"""The command `python -m trackml data`."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trackml.data import cache
from trackml.data.datasets import CATALOG, find
from trackml.data.sources import at_once
from trackml.errors import TrackmlError


def show_data(names: Sequence[str], *, fetch: bool) -> None:
    """Print what the cache holds of the named datasets, or of all.

    Args:
        fetch: first fetch what is missing.

    Raises:
        UsageError: there is no such dataset.
        TrackmlError: one could not be fetched; the others were.
    """
    datasets = [find(name) for name in names or CATALOG]
    problems = _fetch_all(datasets) if fetch else []
    folders = ", ".join(sorted({str(cache.folder_of(dataset).parent) for dataset in datasets}))
    table = Table("dataset", "file", "bytes", "state", "source", title=Text(folders))
    for dataset in datasets:
        for file, state, source in cache.inspect(dataset):
            table.add_row(dataset.name, file.name, f"{file.size:,}", state, Text(source))
    # Into a file or a pipe the table takes the width it needs: nothing is cut.
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if problems:
        raise TrackmlError("; ".join(problems))


def _fetch_all(datasets: Sequence[cache.Dataset]) -> list[str]:
    """Fetch all at the same time, so that their time-outs do not add up; return what failed."""
    problems = []

    def fetch(dataset: cache.Dataset) -> None:
        try:
            cache.fetch(dataset)
        except TrackmlError as error:
            problems.append(str(error))
        except Exception as error:  # noqa: BLE001  # a thread's error would not reach the exit code
            problems.append(f"{dataset.name}: {type(error).__name__}: {error}")

    at_once(fetch, datasets)
    return problems
