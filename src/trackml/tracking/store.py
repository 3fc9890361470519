"""Where runs go: the tracking server that was asked for, else a SQLite database in this folder."""

import getpass
import hashlib
import logging
import os
import re
import shlex
import sqlite3
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

import mlflow
from alembic.script import ScriptDirectory
from filelock import FileLock
from mlflow.store.db import utils as mlflow_db
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking import MlflowClient
from sqlalchemy import make_url

from trackml.errors import TrackmlError, UsageError
from trackml.tracking import reach

_log = logging.getLogger(__name__)


def connect(*, must_answer: bool = True) -> MlflowClient:
    """A client of the store that was chosen, or of ./mlflow.db, made when missing.

    Chosen by MLFLOW_TRACKING_URI, or in this process by mlflow.set_tracking_uri.

    Any number of processes may call this at once in an empty folder.

    Args:
        must_answer: whether a server that does not answer is an error.

    Raises:
        TrackmlError: the server does not answer, or the database is not one that MLflow can use.
    """
    # Where tqdm is installed MLflow shows bars on stderr, which is for what went wrong.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # It prints the server's address when a run ends, with the password.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    uri = mlflow.get_tracking_uri() if is_chosen() else "sqlite:///mlflow.db"
    if path := database_path(uri):
        if os.environ.get("MLFLOW_RUN_ID") and not path.exists():
            raise TrackmlError(
                f"{path}, which should have the run of `mlflow run`, does not exist; "
                "MLFLOW_TRACKING_URI needs an absolute path there"
            )
        # Absolute, so that artifacts and messages do not depend on the current folder.
        uri = _sqlite_uri(path, options=uri.partition("?")[2])
        _prepare_database(path)
    elif reach.is_server(uri):
        reach.limit_requests()
        if must_answer:
            reach.check_server(uri)
    mlflow.set_tracking_uri(uri)
    return MlflowClient()


def database_path(uri: str) -> Path | None:
    """The absolute path of the file behind a SQLite URI; None for all other stores."""
    if not uri.startswith("sqlite:"):
        return None
    name = make_url(uri).database
    return Path(name).absolute() if name and name != ":memory:" else None


def experiment_id(client: MlflowClient, name: str) -> str:
    """The experiment of that name, created when missing.

    Raises:
        TrackmlError: the experiment was deleted.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        path = database_path(mlflow.get_tracking_uri())
        # Explicit, for MLflow's default is the current folder's, of whoever creates it.
        folder = re.sub(r"[^\w-]", "_", name)  # a name may be a path, such as "/Users/me/mnist"
        location = _artifact_root(path).joinpath(folder).as_uri() if path else None
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except mlflow.exceptions.MlflowException:
            experiment = client.get_experiment_by_name(name)  # another process was faster
            if experiment is None:
                raise
    if experiment.lifecycle_stage == "deleted":
        raise TrackmlError(
            f"the experiment {name!r} was deleted; bring it back with "
            f"`mlflow experiments restore -x {experiment.experiment_id}`"
        )
    return str(experiment.experiment_id)


def exclusively(purpose: str) -> AbstractContextManager[object]:
    """Holds other processes off while `purpose` is done to a store.

    All that use a database in a file; of those that use a server, this user's on this machine.
    """
    uri = mlflow.get_tracking_uri()
    if path := database_path(uri):
        return FileLock(path.with_name(f".{path.name}.{purpose}.lock"))
    name = hashlib.sha256(f"{getpass.getuser()} {uri}".encode()).hexdigest()[:16]
    return FileLock(Path(tempfile.gettempdir(), f"trackml-{name}.{purpose}.lock"))


def check_reach(hosts: int) -> None:
    """Refuse a database in a file where runs come from several machines.

    Raises:
        UsageError: it is one.
    """
    if hosts > 1 and (not is_chosen() or database_path(mlflow.get_tracking_uri())):
        raise UsageError(
            f"the {hosts} machines of the Ray cluster cannot share a database in a file; "
            "set MLFLOW_TRACKING_URI to a tracking server that all of them reach"
        )


def ui_command() -> str:
    """What to type, or where to go, to see the store."""
    uri = mlflow.get_tracking_uri()
    if reach.is_server(uri):
        return f"open {reach.without_password(uri)}"
    if database_path(uri) == Path("mlflow.db").absolute():
        return "mlflow ui --backend-store-uri sqlite:///mlflow.db"
    if database_path(uri):
        return f"mlflow ui --backend-store-uri {shlex.quote(uri)}"
    return 'mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"'  # it may hold a password


def is_chosen() -> bool:
    """Whether somebody has named a store."""
    return bool(mlflow.is_tracking_uri_set())  # type: ignore[no-untyped-call]


def _prepare_database(path: Path) -> None:
    if not _revision(path):
        if not path.parent.is_dir():
            raise TrackmlError(
                f"there is no folder {path.parent} to keep {path.name} in; create it"
            )
        try:
            with FileLock(path.with_name(f".{path.name}.lock")):
                if not _revision(path):
                    create_database(path)
        except OSError as error:
            raise TrackmlError(
                f"cannot write to {path.parent}: {error.strerror or error}; change to another "
                "folder, or set MLFLOW_TRACKING_URI"
            ) from error
    if (revision := _revision(path)) != _own_revision():
        _admit_newer_schema(path, str(revision))


def create_database(path: Path) -> None:
    """Make the schema in a temporary file: a migration that dies half-way must not stay."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        draft = Path(folder, path.name)
        for name in ("alembic", mlflow_db.__name__):  # they announce each step
            logging.getLogger(name).setLevel(logging.WARNING)
        store = SqlAlchemyStore(  # type: ignore[no-untyped-call]
            _sqlite_uri(draft), _artifact_root(path).as_uri()
        )
        store.engine.dispose()
        draft.replace(path)


def _sqlite_uri(path: Path, options: str = "") -> str:
    """The URI of a database, with no more escaped than SQLAlchemy needs, for people to read."""
    uri = "sqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")
    return f"{uri}?{options}" if options else uri


def _artifact_root(database: Path) -> Path:
    return database.with_name("mlruns")


def _revision(path: Path) -> str | None:
    """The schema revision of a database, None when there is no file or nothing in it.

    Raises:
        TrackmlError: the file is something else.
    """
    if not path.exists() or path.stat().st_size == 0:
        return None
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=20)
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        finally:
            connection.close()
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


def _own_revision() -> str:
    """The schema revision of the MLflow that is installed here."""
    revision: str = mlflow_db._get_latest_schema_revision()  # type: ignore[no-untyped-call]  # noqa: SLF001
    return revision


def _admit_newer_schema(path: Path, revision: str) -> None:
    """Let MLflow use a database that a newer MLflow has made; refuse one that an older has.

    `mlflow run` from an environment with a newer MLflow makes the database before our pinned one
    sees it. Newer schemas have only added tables and columns for features that we do not use, yet
    MLflow refuses every revision but its own (docs/decisions/0003-tracking-store.md).
    """
    uri = _sqlite_uri(path)
    config = mlflow_db._get_alembic_config(uri)  # type: ignore[no-untyped-call]  # noqa: SLF001
    script = ScriptDirectory.from_config(config)
    if revision in {known.revision for known in script.walk_revisions()}:
        raise TrackmlError(
            f"{path} was made by an older MLflow than {mlflow.__version__}; make a copy of it, "
            f"then run `mlflow db upgrade {uri}`"
        )
    _log.warning(
        "%s was made by a newer MLflow than %s: using it as it is", path, mlflow.__version__
    )
    mlflow_db._verify_schema = lambda _engine: None  # noqa: SLF001
