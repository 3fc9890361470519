"""What the cache holds, as a table for people."""

import sys
from collections.abc import Sequence
from threading import Thread

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trackml.data import cache
from trackml.data.catalog import CATALOG, Dataset, find
from trackml.errors import TrackmlError


def show_data(names: Sequence[str], *, fetch: bool) -> None:
    """Print what the cache holds of the named datasets, of all if none is named.

    Args:
        fetch: complete the cache before.

    Raises:
        UsageError: there is no such dataset.
        TrackmlError: one could not be fetched; the others were.
    """
    datasets = [find(name) for name in names or CATALOG]
    problems = _complete(datasets) if fetch else []
    table = Table("dataset", "file", "bytes", "state", "source", title=Text(str(cache.data_dir())))
    for dataset in datasets:
        for entry in cache.inspect(dataset):
            size = f"{entry.file.size:,}"
            table.add_row(dataset.name, entry.file.name, size, entry.state, Text(entry.origin))
    # Outside a terminal the table takes the width it needs: nothing is cut in a log.
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if problems:
        raise TrackmlError("; ".join(problems))


def _complete(datasets: Sequence[Dataset]) -> list[str]:
    """Fetch all at once, as where they wait in vain for an answer they should wait together."""
    problems = []

    def complete(dataset: Dataset) -> None:
        try:
            cache.fetch(dataset)
        except TrackmlError as error:
            problems.append(str(error))
        except Exception as error:  # noqa: BLE001  # a thread's error would not reach the exit code
            problems.append(f"{dataset.name}: {type(error).__name__}: {error}")

    # Daemons, not a pool: Ctrl-C must not wait for a download.
    threads = [Thread(target=complete, args=(dataset,), daemon=True) for dataset in datasets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return problems
