"""A store with many runs: which of them are read by what looks for few."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Metric, Param
from mlflow.store.tracking.dbmodels.models import SqlRun
from sqlalchemy import Pool, event

from tests.tracking.toy import Store
from trackml.evaluation.report import Report
from trackml.tracking import queries, resume, server
from trackml.tracking.database import open_database
from trackml.tracking.lease import HEARTBEAT_TAG
from trackml.tracking.outbox import OUTBOX_TAG, now_ms

MANY = 25  # more than are looked at first


@pytest.fixture
def read() -> Iterator[list[str]]:
    """The ids of the runs that the database is asked for, each as often as it is read."""
    ids: list[str] = []

    def note(run: SqlRun, _context: object) -> None:
        ids.append(str(run.run_uuid))

    event.listen(SqlRun, "load", note)
    yield ids
    event.remove(SqlRun, "load", note)


def finished(store: Store) -> str:
    """The id of a finished run of the architecture "cnn"."""
    with store.tracked() as run:
        run.log_report(Report({"test_accuracy": 0.5}))
    return run.run_id


def copies(
    store: Store,
    run_id: str,
    count: int,
    *,
    tags: Mapping[str, str] = {},
    params: Mapping[str, str] = {},
    status: str = "FINISHED",
) -> set[str]:
    """The ids of later runs that are as this one, but for what is said otherwise."""
    run, ids = store.run(run_id), set()
    for number in range(1, count + 1):
        of_its_own = {OUTBOX_TAG: f"{number}", **tags}
        made = store.client.create_run(
            run.info.experiment_id,
            start_time=run.info.start_time + number,
            tags={**run.data.tags, **of_its_own},
        ).info.run_id
        metrics = [Metric(name, value, 0, 0) for name, value in run.data.metrics.items()]
        texts = [Param(name, text) for name, text in {**run.data.params, **params}.items()]
        store.client.log_batch(made, metrics, texts)
        if status != "RUNNING":
            store.client.set_terminated(made, status)
        ids.add(made)
    return ids


def test_a_run_begins_without_reading_those_that_are_over(store: Store, read: list[str]) -> None:
    first = finished(store)
    over = {first, *copies(store, first, MANY)}
    read.clear()
    with store.tracked(resume=True) as run:
        assert run.run_id not in over
    assert not over & set(read)


def test_a_live_run_elsewhere_is_read_once_and_a_trial_of_it_not_at_all(
    store: Store, read: list[str]
) -> None:
    alive = {HEARTBEAT_TAG: f"{now_ms()}"}
    (live,) = copies(store, finished(store), 1, tags=alive, status="RUNNING")
    (trial,) = copies(store, live, 1, tags={"mlflow.parentRunId": live}, status="RUNNING")
    read.clear()
    assert resume.mark_dead_runs(store.client) == []
    assert (read.count(live), read.count(trial)) == (1, 0)
    assert store.status(live) == "RUNNING"


def test_an_unfinished_run_is_found_behind_many_of_other_tasks(store: Store) -> None:
    same = store.failed()
    copies(store, same, MANY, tags={"trackml.task": "other"}, status="FAILED")
    (half,) = copies(store, same, 1, tags={"trackml.failure": "1 of 2 trials failed"})
    copies(store, same, 1, tags={"trackml.successor": half}, status="KILLED")
    copies(store, same, 1, tags={"trackml.trial": "first"}, status="KILLED")
    user, wanted = store.tags(same)["mlflow.user"], {"trackml.task": "blobs"}
    found = queries.resumable_runs(store.client, user, wanted)
    assert [run.info.run_id for run in found] == [half, same]
    assert not queries.resumable_runs(store.client, f"not {user}", wanted)


def test_a_nearer_baseline_is_found_behind_many_newer_ones(store: Store) -> None:
    first = finished(store)
    copies(store, first, MANY, params={"epochs": "9"})
    with store.tracked("cnn-aug") as run:
        nearest = run.nearest_baseline("cnn", ["test_accuracy"])
    assert nearest
    assert (nearest.run_id, nearest.differences) == (first, ())


def test_the_tasks_are_found_without_reading_all_runs(store: Store, read: list[str]) -> None:
    first = finished(store)
    copies(store, first, MANY)
    copies(store, first, 1, tags={"trackml.task": "aaa"})
    copies(store, first, 1, tags={"trackml.task": "failed"}, status="FAILED")
    read.clear()
    assert queries.tasks_with_runs(store.client) == ["aaa", "blobs"]
    assert len(read) < MANY


@pytest.fixture
def steps() -> Iterator[list[None]]:
    """An item for each thousand instructions that SQLite executes for MLflow, from its next use."""
    taken: list[None] = []

    def count(connection: Any, *_: object) -> None:
        connection.set_progress_handler(lambda: taken.append(None), 1000)

    event.listen(Pool, "checkout", count)
    yield taken
    event.remove(Pool, "checkout", count)


def multiply(run_id: str, numbers: range) -> None:
    """Copy a run in the database, which is faster than by MLflow's client."""
    with closing(open_database(Path("mlflow.db").absolute())) as database:
        database.execute("BEGIN")
        for table in ("runs", "latest_metrics", "params", "tags"):
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            own = ["printf('%032x', ?)" if name == "run_uuid" else f'"{name}"' for name in columns]
            copy = f"INSERT INTO {table} SELECT {', '.join(own)} FROM {table} WHERE run_uuid = ?"
            database.executemany(copy, [(number, run_id) for number in numbers])
        database.execute("COMMIT")


@pytest.mark.parametrize("column", ["metrics.test_accuracy", "params.seed", "tags.`mlflow.user`"])
def test_three_times_the_runs_take_three_times_as_long_to_sort(
    store: Store, steps: list[None], column: str
) -> None:
    first, needed = finished(store), []
    experiment = store.run(first).info.experiment_id
    for numbers in (range(1, 110), range(110, 1000), range(1000, 3000)):
        multiply(first, numbers)
        server.connect(create=False)
        steps.clear()
        # With a connection that was open before, as a server's is.
        store.client.search_runs([experiment], order_by=[f"{column} DESC"], max_results=100)
        needed.append(len(steps))
    assert needed[1] > 10
    assert needed[2] < 4 * needed[1]
