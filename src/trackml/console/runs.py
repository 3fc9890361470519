"""What has not finished, and what is owed, for people."""

import time
from typing import TYPE_CHECKING

from rich.table import Table

from trackml.console.bar import wide_console
from trackml.console.closing import in_words
from trackml.errors import TrackingIncomplete

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow.entities import Run


def show_runs() -> None:
    """Mark what no process works on any more, then print the runs that have not finished."""
    from trackml.tracking import store
    from trackml.tracking.repair import repair, tidy, unfinished

    client = store.connect()
    repaired = repair(client)
    tidy(client)
    console = wide_console()
    runs = unfinished(client)
    if not runs:
        console.print("all runs have finished")
        return
    console.print(_table(runs))
    if repaired:
        console.print(f"{len(repaired)} were RUNNING though their process is no more: KILLED now")
    console.print("the command that began one, with --resume true, continues it")


def show_sync() -> None:
    """Deliver what is owed, and print what became of each run.

    Raises:
        TrackingIncomplete: a store still does not have all of it.
    """
    from trackml.tracking.sync import sync

    console = wide_console()
    owed, done = 0, 0
    for run in sync():
        if run.problem:
            owed += 1
            console.print(f"run {run.run_id}: still owed, and kept in {run.folder}: {run.problem}")
            continue
        done += 1
        console.print(f"run {run.run_id}: delivered, {run.status}")
        for line in in_words(run.registration) if run.registration else []:
            console.print(f"  {line}")
    if owed:
        raise TrackingIncomplete(f"{owed} of {owed + done} runs are still owed; try again later")
    if not done:
        console.print("nothing is owed")


def _table(runs: "Sequence[Run]") -> Table:
    table = Table("run", "begun", "task", "architecture", "status", "why")
    for run in runs:
        tags = run.data.tags
        begun = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.info.start_time / 1000))
        why = tags.get("trackml.failure", "")
        if successor := tags.get("trackml.successor"):
            why = f"continued by {successor}"
        elif run.info.status == "RUNNING":
            why = f"process {tags.get('trackml.process', 'unknown')}"
        table.add_row(
            run.info.run_id,
            begun,
            tags["trackml.task"],
            tags.get("trackml.architecture", ""),
            run.info.status,
            why,
        )
    return table
