"""A store that is a database in a file: how it is made and opened, its schema and statistics."""

import logging
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import mlflow
from alembic.script import ScriptDirectory
from mlflow.store.db import utils as mlflow_db
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from trackml.errors import TrackmlError
from trackml.files import lock_file
from trackml.tracking.address import sqlite_uri

ARTIFACTS = "mlruns"  # the folder of all artifacts, beside the database
_SAMPLE = 400  # rows of an index that SQLite reads to estimate them
_FEW = 50  # runs that are sorted fast anyway

_log = logging.getLogger(__name__)


def prepare_database(path: Path) -> None:
    """Create a database where there is none, and check that MLflow can use it."""
    if not _revision(path):
        if not path.parent.is_dir():
            message = f"there is no folder {path.parent} to keep {path.name} in; create it"
            raise TrackmlError(message)
        try:
            with lock_file(path.with_name(f".{path.name}.lock")):
                if not _revision(path):
                    create_database(path)
        except OSError as error:
            raise TrackmlError(
                f"cannot write to {path.parent}: {error.strerror or error}; change to another "
                "folder, or set MLFLOW_TRACKING_URI"
            ) from error
    if (revision := _revision(path)) != mlflow_db._get_latest_schema_revision():  # type: ignore[no-untyped-call]  # noqa: SLF001
        _accept_newer_schema(path, str(revision))


def create_database(path: Path) -> None:
    """Make the schema in a temporary file: a migration that dies half-way must not stay."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        draft = Path(folder, path.name)
        for name in ("alembic", mlflow_db.__name__):  # they announce each step
            logging.getLogger(name).setLevel(logging.WARNING)
        uri, root = sqlite_uri(draft), artifact_root(path).as_uri()
        SqlAlchemyStore(uri, root).engine.dispose()  # type: ignore[no-untyped-call]
        draft.replace(path)


def open_database(path: Path, *, timeout: float = 20) -> sqlite3.Connection:
    """A connection to a database that exists, without transactions of Python's own.

    What a process that was killed left half written is taken back, for which it must be writable.

    Args:
        timeout: seconds to wait for another program's transaction.
    """
    uri = f"{path.as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None)


def update_statistics(path: Path) -> None:
    """Let SQLite sample how large a database's tables are, once the runs have doubled.

    Without these statistics, SQLite reads the values of all runs once per run when MLflow's UI
    sorts by a metric, parameter or tag. A database that is in use, cannot be written to, or is
    damaged stays as it is.
    """
    try:
        with closing(open_database(path, timeout=0)) as database:
            (newest,) = database.execute("SELECT max(rowid) FROM runs").fetchone()
            if (newest or 0) < 2 * max(_counted_runs(database), _FEW):
                return
            database.execute(f"PRAGMA analysis_limit = {_SAMPLE}")
            database.execute("BEGIN IMMEDIATE")
            # Connections that are open read statistics again only if the tables have changed.
            database.execute("DROP TABLE IF EXISTS sqlite_stat1")
            database.execute("ANALYZE")
            database.execute("COMMIT")
    except sqlite3.Error as error:
        _log.debug("no statistics of %s: %s", path, error)


def _counted_runs(database: sqlite3.Connection) -> int:
    """How many runs the statistics know of; 0 if there are none."""
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'").fetchone():
        return 0
    row = database.execute("SELECT stat FROM sqlite_stat1 WHERE tbl = 'runs'").fetchone()
    return int(row[0].split()[0]) if row else 0


def artifact_root(database: Path) -> Path:
    """The folder of a database's artifacts, beside it."""
    return database.with_name(ARTIFACTS)


def _revision(path: Path) -> str | None:
    """The schema revision of a database; None if there is no file, or nothing in it."""
    if not path.exists() or path.stat().st_size == 0:
        return None
    try:
        with closing(open_database(path)) as database:
            row = database.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        raise TrackmlError(
            f"{path} is not an intact MLflow database ({error}); move it away, or name another "
            "store in MLFLOW_TRACKING_URI"
        ) from None
    if row is None:
        raise TrackmlError(
            f"{path} has an MLflow schema that is not complete: another program is making it, or "
            "died while it did; try again in a minute, then move it away"
        )
    return str(row[0])


def _accept_newer_schema(path: Path, revision: str) -> None:
    """Let MLflow use a database that a newer MLflow has made; refuse one that an older has.

    `mlflow run` from an environment with a newer MLflow makes the database before our pinned one
    sees it. Newer schemas have only added tables and columns for features that we do not use, yet
    MLflow refuses every revision but its own (docs/decisions/0003-tracking-store.md).
    """
    uri = sqlite_uri(path)
    config = mlflow_db._get_alembic_config(uri)  # type: ignore[no-untyped-call]  # noqa: SLF001
    older = {each.revision for each in ScriptDirectory.from_config(config).walk_revisions()}
    if revision in older:
        raise TrackmlError(
            f"{path} was made by an older MLflow than {mlflow.__version__}; make a copy of it, "
            f"then run `mlflow db upgrade {uri}`"
        )
    message = "%s was made by a newer MLflow than %s: using it as it is"
    _log.warning(message, path, mlflow.__version__)
    mlflow_db._verify_schema = lambda _engine: None  # noqa: SLF001
