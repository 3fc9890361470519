"""What a store with many runs costs: a pipeline's start and end, and the commands that read it.

python -m benchmarks.scale fill --runs 100000     # multiplies real runs in ./mlflow.db
python -m benchmarks.scale compare FEW MANY       # addresses of two stores, the first almost empty
python -m benchmarks.scale together --runs 32     # log at once, to a server with PostgreSQL
python -m benchmarks.scale servers --runs 100000  # compares two servers with PostgreSQL
"""

import argparse
import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Thread
from time import perf_counter, process_time
from typing import Any

import mlflow
import sqlalchemy as sa
from mlflow.entities import Metric, Run as MlflowRun

import trackml
from benchmarks.side_by_side import in_turns, machine
from pipelines import compare, scratch_mnist
from tests.pipelines.servers import as_program, postgres_server
from trackml.tracking import queries, registry, resume, server
from trackml.tracking.address import database_path
from trackml.tracking.initial_state import logged_params
from trackml.tracking.outbox import now_ms
from trackml.tracking.run import Run, tracked_run
from trackml.tracking.uploader import sync

TASKS = 5  # of the runs, each with an experiment
TRIALS = 1_000  # of a sweep; every second run is a trial
CONFIGURATIONS = 100  # of each architecture; their runs differ in the seed
USERS = 20  # who share the runs
UNFINISHED = 25  # of so many runs one was killed
VERSIONS = 200  # of the registered model
INTERVAL = 60_000  # milliseconds between the starts of two runs
_BATCH = 5_000  # runs that are copied in a statement
_REAL = [("softmax", 0), ("softmax", 1), ("mlp", 0)]
_MODEL_TABLES = ("logged_models", "logged_model_tags", "logged_model_params")
_RUN_TABLES = {  # table → its column of the run
    "runs": "run_uuid",
    "tags": "run_uuid",
    "params": "run_uuid",
    "metrics": "run_uuid",
    "latest_metrics": "run_uuid",
    "logged_model_metrics": "run_id",
}
_TIMES = ("start_time", "end_time", "timestamp", "metric_timestamp_ms", "creation_timestamp_ms")


def fill(database: str, runs: int) -> None:
    """Multiply three real runs of `scratch_mnist`, which are made first, to so many.

    They get ids, times, seeds, learning rates and scores of their own, in TASKS experiments; half
    of them are trials of sweeps.

    Args:
        database: its address; of a server, that of the database behind it.
    """
    client = server.connect()
    for model, seed in _REAL:
        values = {"limit": 300, "epochs": 2, "model": model, "seed": seed}
        scratch_mnist.main(scratch_mnist.Params.parse(values))
    originals = client.search_runs([server.experiment_id(client, "mnist")], max_results=len(_REAL))
    names = ["mnist", *(f"mnist_{number}" for number in range(1, TASKS))]
    experiments = [int(server.experiment_id(client, name)) for name in names]
    engine = sa.create_engine(database)
    tables = sa.MetaData()
    tables.reflect(engine)
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA cache_size = -1000000")
        copies = _copies(connection)
        for first in range(0, runs, _BATCH):
            numbers = range(first, min(first + _BATCH, runs))
            connection.execute(sa.delete(copies))
            made = [*_made(numbers, originals, experiments, names)]
            connection.execute(sa.insert(copies), made)
            _multiply(connection, tables.tables, copies)
            if first == 0:
                _register(connection, tables.tables, made)
            print(f"{numbers.stop:,} of {runs:,} runs", flush=True)
        copies.drop(connection)
    engine.dispose()


def _copies(connection: sa.Connection) -> sa.Table:
    columns = {
        **dict.fromkeys(("old_run", "run", "old_model", "model", "parent", "task"), sa.String),
        **dict.fromkeys(("number", "experiment", "shift"), sa.BigInteger),
    }
    own = (sa.Column[Any](name, kind) for name, kind in columns.items())
    table = sa.Table("copies", sa.MetaData(), *own, prefixes=["TEMPORARY"])
    table.create(connection)
    return table


def _made(
    numbers: range, originals: list[MlflowRun], experiments: list[int], names: list[str]
) -> Iterator[dict[str, Any]]:
    """A row per new run: what it copies, and what is its own."""
    parent = ""
    for number in numbers:
        original, task, run = originals[number % len(originals)], number // 7 % TASKS, uuid.uuid4()
        model = original.outputs.model_outputs[0].model_id if original.outputs else ""
        if number % (2 * TRIALS) == 0 or not parent:
            parent = run.hex
        yield {
            "old_run": original.info.run_id,
            "old_model": model,
            "run": run.hex,
            "model": f"m-{uuid.uuid4().hex}",
            "parent": parent,
            "task": names[task],
            "experiment": experiments[task],
            "number": number,
            "shift": -INTERVAL * (number + 1),
        }


def _multiply(connection: sa.Connection, tables: Any, copies: sa.Table) -> None:
    for name in _MODEL_TABLES:
        _insert(connection, tables[name], copies, tables[name].c.model_id == copies.c.old_model)
    for name, of_run in _RUN_TABLES.items():
        _insert(connection, tables[name], copies, tables[name].c[of_run] == copies.c.old_run)
    inputs, input_tags, tags = tables["inputs"], tables["input_tags"], tables["tags"]
    _insert(connection, inputs, copies, inputs.c.destination_id == copies.c.old_run)
    _insert(connection, inputs, copies, inputs.c.source_id == copies.c.old_run)
    _insert(
        connection,
        input_tags,
        copies,
        input_tags.c.input_uuid == inputs.c.input_uuid,
        inputs.c.destination_id == copies.c.old_run,
    )
    is_trial = copies.c.number % 2 == 1
    for key, value in (("mlflow.parentRunId", copies.c.parent), ("trackml.trial", copies.c.run)):
        rows = sa.select(sa.literal(key), value, copies.c.run).where(is_trial)
        connection.execute(sa.insert(tags).from_select(["key", "value", "run_uuid"], rows))


def _insert(connection: sa.Connection, table: sa.Table, copies: sa.Table, *conditions: Any) -> None:
    rows = sa.select(*(_copied(column, table, copies) for column in table.c)).where(*conditions)
    connection.execute(sa.insert(table).from_select([*table.c], rows))


def _copied(column: Any, table: sa.Table, copies: sa.Table) -> Any:
    """What a copy has in a column."""
    new, name = copies.c, column.name
    if name in _TIMES:
        return column + new.shift
    if name == "experiment_id":
        return new.experiment
    if name == "input_uuid":
        return sa.func.substr(new.run, 1, 20, type_=sa.String) + sa.func.substr(column, 1, 12)
    if name == "status" and table.name == "runs":
        return sa.case((new.number % UNFINISHED == UNFINISHED - 1, "KILLED"), else_=column)
    if name == "value" and table.name in ("metrics", "latest_metrics"):
        is_score = sa.or_(table.c.key.like("%loss"), table.c.key.like("%accuracy"))
        return sa.case((is_score, column * (1 - new.number % 997 / 9970.0)), else_=column)
    if not isinstance(column.type, sa.String):
        return column
    user = sa.literal("user_") + sa.cast(new.number % USERS, sa.String)
    if name == "user_id" and table.name == "runs":
        return user
    own = sa.func.replace(column, new.old_run, new.run)
    own = sa.func.replace(own, new.old_model, new.model)
    if name == "value" and table.name == "params":
        rate = sa.cast(1 + new.number % CONFIGURATIONS, sa.String)
        seed = sa.cast(new.number, sa.String)
        changed = ((table.c.key == "seed", seed), (table.c.key == "learning_rate", "0.0" + rate))
        return sa.case(*changed, else_=own)
    if name == "value" and table.name == "tags":
        of_tags: Any = (
            (table.c.key == "trackml.task", new.task),
            (table.c.key == "mlflow.user", user),
        )
        return sa.case(*of_tags, else_=own)
    return own


def _register(connection: sa.Connection, tables: Any, made: list[dict[str, Any]]) -> None:
    """Register copies of finished runs of the first task, as further versions of its model."""
    versions, tags = tables["model_versions"], tables["model_version_tags"]
    first = connection.execute(sa.select(versions).where(versions.c.version == 1)).mappings().one()
    its_tags = connection.execute(sa.select(tags).where(tags.c.version == 1)).mappings().all()
    wanted = [each for each in made if each["task"] == "mnist"][: VERSIONS - len(_REAL)]
    for version, each in enumerate(wanted, start=len(_REAL) + 1):
        own = {"version": version, "run_id": each["run"], "source": f"models:/{each['model']}"}
        connection.execute(sa.insert(versions), {**first, **own})
        connection.execute(sa.insert(tags), [{**tag, "version": version} for tag in its_tags])


class Store:
    """A store in which things are timed; each round begins runs of its own."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.clock = process_time if database_path(address) else perf_counter
        self.data = scratch_mnist.TASK.load(self._params())
        self.connect()
        versions = self.client.search_model_versions("name = 'mnist'")
        self.registered = str(min(versions, key=lambda each: int(each.version)).run_id)
        trials = queries.search_runs(self.client, "tags.`mlflow.parentRunId` != ''", max_runs=1)
        self.sweep = trials[0].data.tags["mlflow.parentRunId"] if trials else ""

    def connect(self) -> None:
        mlflow.set_tracking_uri(self.address)
        self.client = server.connect()

    def ways(self) -> dict[str, Callable[[], object]]:
        return {
            "start": self._start,
            "start with --resume": lambda: self._start(resume=True),
            "  of it: mark dead runs": lambda: resume.mark_dead_runs(self.client),
            "nearest baseline": self._baseline,
            "registration, promotion": lambda: registry.promote("mnist", self.registered),
            "a whole run of one epoch": lambda: scratch_mnist.main(self._params()),
            "trackml sync": lambda: [*sync()],
            "trackml runs": lambda: queries.unfinished_runs(self.client),
            "trials of a sweep": lambda: queries.child_runs(self.client, self.sweep),
            "other tasks": lambda: queries.tasks_with_runs(self.client),
            "UI: the 100 newest runs": lambda: self._page("attributes.start_time"),
            "UI: the 100 best runs": lambda: self._page("metrics.`test_accuracy`"),
            "leaderboard": lambda: trackml.leaderboard("mnist"),
            "compare": lambda: compare.main(compare.Params.parse({})),
        }

    def seconds(self, name: str, _round: int) -> float:
        self.connect()
        work = self.ways()[name]
        started = self.clock()
        ended = work()
        return (ended if isinstance(ended, float) else self.clock()) - started

    def _params(self, **values: object) -> scratch_mnist.Params:
        own = {"limit": 300, "epochs": 1, "seed": uuid.uuid4().int % 10**8}
        return scratch_mnist.Params.parse(own | values)

    def _start(self, **values: object) -> float:
        """When the run had begun in the store; what it does then does not count."""
        params = self._params(**values)
        with tracked_run(scratch_mnist.TASK, params, self.data, "scratch-softmax"):
            return self.clock()

    def _page(self, column: str) -> object:
        """What MLflow's UI asks for to show a task's runs, sorted."""
        experiments = [server.experiment_id(self.client, "mnist")]
        return self.client.search_runs(experiments, order_by=[f"{column} DESC"], max_results=100)

    def _baseline(self) -> object:
        identity = {
            "trackml.task": "mnist",
            "trackml.architecture": "scratch-mlp",
            "trackml.data_sha256": self.data.sha256,
        }
        params = logged_params(self._params())
        return queries.nearest_baseline(self.client, params, identity, ["test_accuracy"])


def compare_stores(few: str, many: str, rounds: int, only: str) -> None:
    """Time everything in two stores in turns, and print medians."""
    logging.getLogger("trackml").setLevel(logging.ERROR)
    stores = [Store(few), Store(many)]
    for name in stores[0].ways():
        if only and only not in name:
            continue
        for store in stores:
            store.seconds(name, 0)  # the first one fills caches
        ways = {store.address: partial(store.seconds, name) for store in stores}
        first, second = (median(seconds) for seconds in in_turns(ways, rounds).values())
        print(f"{name:25} {first:8.3f} s {second:8.3f} s  ratio {second / first:.2f}", flush=True)
    print(f"n = {rounds} rounds in turns, medians; {machine()}")


def compare_servers(runs: int, rounds: int, only: str) -> None:
    """Fill one of two servers with so many runs, and compare them."""
    with ExitStack() as stack:
        servers = []
        for count in (0, runs):
            folder = Path(stack.enter_context(TemporaryDirectory()))
            servers.append(stack.enter_context(postgres_server(folder)))
            mlflow.set_tracking_uri(servers[-1].uri)
            fill(servers[-1].database, count)
        few, many = servers
        compare_stores(few.uri, many.uri, rounds, only)


def log_together(count: int, epochs: int = 5) -> None:
    """Time the request of an epoch by one run, then by so many at once, without a pause."""
    with TemporaryDirectory() as folder, postgres_server(Path(folder)) as own, ExitStack() as stack:
        mlflow.set_tracking_uri(own.uri)
        params = scratch_mnist.Params.parse({"limit": 300})
        data = scratch_mnist.TASK.load(params)
        runs = [
            stack.enter_context(tracked_run(scratch_mnist.TASK, params, data, "scratch-softmax"))
            for _ in range(count)
        ]
        for number in (1, count):
            seconds: list[float] = []
            threads = [
                Thread(target=_log_epochs, args=(run, epochs, seconds)) for run in runs[:number]
            ]
            started = perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            rate = len(seconds) / (perf_counter() - started)
            print(
                f"{number} runs: median {median(seconds):.3f} s, at most {max(seconds):.3f} s, "
                f"{rate:.1f} epochs a second, n = {len(seconds)}"
            )


def _log_epochs(run: Run, epochs: int, seconds: list[float]) -> None:
    names = ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "learning_rate")
    for epoch in range(1, epochs + 1):
        at, started = now_ms(), perf_counter()
        rows = [Metric(name, 0.5, at, epoch) for name in (*names, "epoch_seconds", "speed")]
        run.client.log_batch(run.run_id, rows)
        seconds.append(perf_counter() - started)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["fill", "compare", "together", "servers"])
    parser.add_argument("stores", nargs="*", metavar="ADDRESS")
    parser.add_argument("--runs", type=int, help="default: 100,000; at once, 32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="of what is timed, a part of its name")
    given = parser.parse_args()
    if given.what == "fill":
        server.connect()
        fill(given.stores[0] if given.stores else mlflow.get_tracking_uri(), given.runs or 100_000)
    elif given.what == "together":
        as_program(partial(log_together, given.runs or 32))
    elif given.what == "servers":
        count = given.runs or 100_000
        as_program(partial(compare_servers, count, given.rounds, given.only))
    else:
        few, many = given.stores
        compare_stores(few, many, given.rounds, given.only)
