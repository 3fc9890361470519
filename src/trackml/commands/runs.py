"""The commands `trackml runs` and `trackml sync`."""

import time
from collections.abc import Sequence

from mlflow.entities import Run

from trackml.console import console, print_table, registration_lines, table_of_texts
from trackml.errors import TrackingIncomplete
from trackml.evaluation.report import Table
from trackml.tracking import server
from trackml.tracking.queries import unfinished_runs
from trackml.tracking.resume import mark_dead_runs, release_run
from trackml.tracking.uploader import sync


def show_runs(released: str | None = None) -> None:
    """Mark what no process works on any more, then print the runs that have not finished.

    Args:
        released: the id of a run whose process surely is dead.
    """
    client = server.connect(create=False)
    if released:
        release_run(client, released)
    marked = mark_dead_runs(client)
    out = console()
    runs = unfinished_runs(client)
    if not runs:
        out.print("all runs have finished")
        return
    print_table(out, _runs_table(runs))
    if marked:
        out.print(f"{len(marked)} were RUNNING though their process is no more: KILLED now")
    out.print("its own command with -P resume=true (directly: --resume true) continues a run")


def show_sync() -> None:
    """Deliver what is owed, and print what became of each run.

    Raises:
        TrackingIncomplete: a store still does not have all of it.
    """
    out = console()
    owed, done = 0, 0
    for run in sync():
        if run.problem:
            owed += 1
            out.print(f"run {run.run_id}: still owed, and kept in {run.folder}: {run.problem}")
            continue
        done += 1
        out.print(f"run {run.run_id}: delivered, {run.status}")
        for line in registration_lines(run.registration) if run.registration else []:
            out.print(f"  {line}")
    if owed:
        raise TrackingIncomplete(f"{owed} of {owed + done} runs are still owed; try again later")
    if not done:
        out.print("nothing is owed")


def _runs_table(runs: Sequence[Run]) -> Table:
    rows = []
    for run in runs:
        tags = run.data.tags
        begun = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.info.start_time / 1000))
        why = tags.get("trackml.failure", "")
        if run.info.status == "RUNNING":
            why = f"process {tags.get('trackml.process', 'unknown')}"
        architecture = tags.get("trackml.architecture", "")
        rows.append(
            [run.info.run_id, begun, tags["trackml.task"], architecture, run.info.status, why]
        )
    headings = ["run", "begun", "task", "architecture", "status", "why"]
    return table_of_texts("unfinished runs", headings, rows)
