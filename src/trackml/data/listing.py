"""The command `python -m trackml data`."""

from collections.abc import Sequence

from trackml.console import console, print_table, table_of_texts
from trackml.data import cache
from trackml.data.datasets import CATALOG, find
from trackml.data.sources import at_once
from trackml.display.live import displayed
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
    rows = [
        [dataset.name, file.name, f"{file.size:,}", state, source]
        for dataset in datasets
        for file, state, source in cache.inspect(dataset)
    ]
    folders = sorted({str(cache.folder_of(dataset).parent) for dataset in datasets})
    headings = ["dataset", "file", "bytes", "state", "source"]
    print_table(console(), table_of_texts(", ".join(folders), headings, rows))
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

    with displayed(lambda: [[""]]) as progress:
        progress.stage(f"fetching {', '.join(dataset.name for dataset in datasets)}")
        at_once(fetch, datasets)
    return problems
