"""What tracking costs `cnn` in a minute: its outbox on disk, and a server instead of a database.

python -m benchmarks.tracking --rounds 5
"""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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
from trackml.tracking.outbox import Outbox
from trackml.tracking.uploader import Uploader

OF_OUTBOX, OF_SERVER = 1.02, 1.03  # times what it takes without, and into a database here


def compare(rounds: int, epochs: int) -> None:
    """Whole runs in one process, from loading the data to the registered model."""
    params = Params.parse({"epochs": epochs})
    within: dict[str, list[float]] = {"the outbox": [], "uploads to a server": []}
    with TemporaryDirectory() as folder, postgres_server(Path(folder)) as server:
        seconds = in_turns(
            {
                "with outbox": partial(
                    _run,
                    params,
                    lambda: _timed(Outbox, ("add_epoch", "replace_state"), within["the outbox"]),
                    None,
                ),
                "without outbox": partial(_run, params, _without_outbox, None),
                "over HTTP": partial(
                    _run,
                    params,
                    lambda: _timed(Uploader, ("push",), within["uploads to a server"]),
                    server.uri,
                ),
            },
            rounds,
        )
    own, bare, http = seconds.values()
    title = f"cnn, {epochs} epochs"
    show(title, {"with outbox": own, "without outbox": bare}, {"without outbox": OF_OUTBOX})
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


def _without_outbox() -> Any:
    """No checkpoints, and no state on disk."""
    return patch("trackml.tracking.resume.Outbox", partial(Outbox, is_kept=False))


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
