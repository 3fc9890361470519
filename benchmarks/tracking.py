"""What tracking costs `cnn` in a minute: its journal on disk, and a server instead of a database.

python -m benchmarks.tracking --rounds 5
"""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any
from unittest.mock import patch

import mlflow

from benchmarks.side_by_side import in_turns, show
from pipelines.cnn import Params, main
from tests.pipelines.servers import as_program, postgres_server
from trackml.tracking.delivery import Delivery
from trackml.tracking.journal import Journal

OF_JOURNAL, OF_SERVER = 1.02, 1.03  # times what it takes without, and into a database here


def compare(rounds: int, epochs: int) -> None:
    """Whole runs in one process, from loading the data to the registered model."""
    params = Params.parse({"epochs": epochs})
    within: dict[str, list[float]] = {"the journal": [], "deliveries to a server": []}
    with TemporaryDirectory() as folder, postgres_server(Path(folder)) as server:
        seconds = in_turns(
            {
                "with journal": partial(
                    _run,
                    params,
                    lambda: _timed(Journal, ("save", "keep"), within["the journal"]),
                    None,
                ),
                "without journal": partial(_run, params, _without_journal, None),
                "over HTTP": partial(
                    _run,
                    params,
                    lambda: _timed(Delivery, ("push",), within["deliveries to a server"]),
                    server.uri,
                ),
            },
            rounds,
        )
    own, bare, http = seconds.values()
    title = f"cnn, {epochs} epochs"
    show(title, {"with journal": own, "without journal": bare}, {"without journal": OF_JOURNAL})
    show(title, {"over HTTP": http, "database in a file": own}, {"database in a file": OF_SERVER})
    for (what, spent), whole in zip(within.items(), (own, http), strict=True):
        shares = [mine / all_of_it for mine, all_of_it in zip(spent, whole, strict=True)]
        print(f"within {what}: {median(shares):.2%} of the time, at most {max(shares):.2%}")


def _run(params: Params, way: Callable[[], Any], address: str | None, _round: int) -> float:
    with TemporaryDirectory() as folder:
        before = Path.cwd()
        os.chdir(folder)
        mlflow.set_tracking_uri(address)  # type: ignore[arg-type]  # None: a database here
        try:
            with way():
                started = perf_counter()
                main(params)
                return perf_counter() - started
        finally:
            os.chdir(before)


@contextmanager
def _without_journal() -> Iterator[None]:
    """No checkpoints, and no facts on disk."""
    with (
        patch("trackml.tracking.run.keeping", lambda _journal: nullcontext()),
        patch.object(Journal, "keep", lambda _journal: None),
    ):
        yield


@contextmanager
def _timed(owner: type, methods: tuple[str, ...], within: list[float]) -> Iterator[None]:
    """Note the seconds that some methods take."""
    spent = 0.0

    def timed(usual: Callable[..., object]) -> Callable[..., None]:
        def run(*args: object, **options: object) -> None:
            nonlocal spent
            started = perf_counter()
            usual(*args, **options)
            spent += perf_counter() - started

        return run

    with ExitStack() as patches:
        for method in methods:
            replaced = patch.object(owner, method, timed(getattr(owner, method)))
            patches.enter_context(replaced)
        yield
    within.append(spent)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    given = parser.parse_args()
    as_program(partial(compare, given.rounds, given.epochs))
