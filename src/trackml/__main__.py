"""`python -m trackml`: what is not a pipeline."""

import sys
from argparse import ArgumentParser
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console
from rich.table import Table

from trackml.cli import exit_code
from trackml.data import cache
from trackml.data.catalog import CATALOG, Dataset
from trackml.errors import TrackmlError


def main() -> None:
    """Parse the command and run it."""
    parser = ArgumentParser(prog="python -m trackml", description="Tools around the pipelines.")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", required=True)
    data = commands.add_parser(
        "data",
        help="fetch the datasets into the cache, and show what is there and where it came from",
    )
    data.add_argument("dataset", nargs="*", help=f"any of {', '.join(CATALOG)}; default: all")
    data.add_argument("--list", action="store_true", help="show only, fetch nothing")
    data.add_argument("--debug", action="store_true", help="show the traceback of an error")
    options = parser.parse_args()

    unknown = [name for name in options.dataset if name not in CATALOG]
    if unknown:
        data.error(f"there is no dataset {unknown[0]!r}; there are {', '.join(CATALOG)}")
    wanted = [CATALOG[name] for name in options.dataset or CATALOG]
    raise SystemExit(
        exit_code(lambda: show_data(wanted, fetch=not options.list), debug=options.debug)
    )


def show_data(datasets: Iterable[Dataset], *, fetch: bool) -> None:
    """Print what the cache holds of each dataset; with `fetch`, after completing it.

    Raises:
        TrackmlError: one of them could not be fetched; the others were.
    """
    problems = []

    def complete(dataset: Dataset) -> None:
        try:
            cache.fetch(dataset)
        except TrackmlError as error:
            problems.append(str(error))

    datasets = list(datasets)
    if fetch:
        with ThreadPoolExecutor() as pool:  # together: where all wait in vain, they wait once
            list(pool.map(complete, datasets))
    table = Table("dataset", "file", "bytes", "state", "source", title=f"{cache.data_dir()}")
    for dataset in datasets:
        for entry in cache.inspect(dataset):
            table.add_row(
                dataset.name, entry.file.name, f"{entry.file.size:,}", entry.state, entry.origin
            )
    # Outside a terminal the table takes the width it needs: nothing is cut in a log.
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if problems:
        raise TrackmlError("; ".join(problems))


if __name__ == "__main__":
    main()
