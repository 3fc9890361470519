"""The tracking store: which one, whether it responds, how long a request may take.

What a run does while the store does not respond: `uploader.Uploader.push`.
"""

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.client import NOT_FOUND
from typing import Any
from urllib.parse import urlsplit

import mlflow
import requests
from filelock import FileLock
from mlflow.entities import Experiment, Run as MlflowRun
from mlflow.environment_variables import (
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
)
from mlflow.exceptions import MlflowException
from mlflow.store.db import utils as mlflow_db
from mlflow.tracking import MlflowClient
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError
from urllib3.exceptions import HTTPError

from trackml.errors import TrackmlError, UsageError, one_line
from trackml.files import lock_file
from trackml.process.system import ensure_user, environment, private_folder
from trackml.tracking.address import (
    REGISTRY,
    TRACKING,
    check_address,
    check_exists,
    database_path,
    is_configured,
    is_database_server,
    is_server,
    store_uri,
    without_password,
)
from trackml.tracking.database import artifact_root, prepare_database, update_statistics
from trackml.tracking.lease import check_lease
from trackml.tracking.outbox import FAILURE_TAG, OUTBOX_TAG, outbox_folder
from trackml.tracking.relocate import check_location

RESPONSE_SECONDS = 3  # for a server to respond at all
BRIEF_SECONDS = 5  # for a request while training waits
END_SECONDS = 20  # for the last one
_RETRIES, _TIMEOUT = MLFLOW_HTTP_REQUEST_MAX_RETRIES.name, MLFLOW_HTTP_REQUEST_TIMEOUT.name
_DEFAULTS = {
    _RETRIES: "2",
    _TIMEOUT: "60",  # seconds of each; MLflow's own 7 and 120 would be a quarter of an hour
    # Where tqdm is installed MLflow shows bars on stderr, which is for errors.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # It prints the server's address when a run ends, with the password.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "PGCONNECT_TIMEOUT": str(RESPONSE_SECONDS),  # of PostgreSQL's drivers, which else wait for ever
}
_TEMPORARY = "429|5[0-9][0-9]"  # statuses of HTTP that are not the request's fault
_OUT_OF_CONNECTIONS = "QueuePool limit of size"

# What MLflow's server has and another program has not; a proxy may let only the second through.
_OF_MLFLOW = ("/version", "/api/2.0/mlflow/experiments/search?max_results=1")

_log = logging.getLogger(__name__)


def connect(*, create: bool = True) -> MlflowClient:
    """As `prepare`; raises TrackmlError too if the store does not respond."""
    client = prepare(create=create)
    responds(must=True)
    return client


def prepare(*, create: bool = True) -> MlflowClient:
    """A client of the configured store, else of ./mlflow.db, created when missing.

    MLFLOW_TRACKING_URI configures it, or mlflow.set_tracking_uri in this process. Any number of
    processes may call this at once in an empty folder. A server need not respond. A database may be
    written to, for its statistics.

    Args:
        create: False is for who only reads: a missing database is an error.

    Raises:
        UsageError: its address is none that MLflow can use.
        TrackmlError: the database is not one that MLflow can use, its folder was moved, or it is on
            a server that does not accept a connection.
    """
    ensure_user()
    for name, default in _DEFAULTS.items():
        os.environ.setdefault(name, default)
    uri = store_uri()
    if path := database_path(uri):
        if os.environ.get("MLFLOW_RUN_ID") and not path.exists():
            raise TrackmlError(
                f"{path}, which should have the run of MLFLOW_RUN_ID, does not exist; unset "
                "MLFLOW_RUN_ID; under `mlflow run`, MLFLOW_TRACKING_URI needs an absolute path"
            )
        if not create:
            check_exists(path)
        prepare_database(path)
        check_location(path)
        update_statistics(path)
    registry = os.environ.get(REGISTRY) or uri  # models may be in a store of their own
    check_address(registry, REGISTRY)
    if (path := database_path(registry)) and registry != uri and path.exists():
        check_location(path)
    for address, variable in {registry: REGISTRY, uri: TRACKING}.items():
        if is_database_server(address):
            _check_database_server(address, variable)
    mlflow.set_tracking_uri(uri)
    return MlflowClient()


def responds(*, must: bool = False, can_defer: bool = False) -> bool:
    """True if the server responds; TrackmlError if it must. A database responded to `prepare`.

    Args:
        can_defer: the caller is a run that --tracking deferred begins without the server.
    """
    uri = mlflow.get_tracking_uri()
    if not is_server(uri):
        return True
    status, problem = 0, ""
    try:
        for path in _OF_MLFLOW:
            status = requests.get(f"{uri.rstrip('/')}{path}", timeout=RESPONSE_SECONDS).status_code
            problem = f"HTTP {status}" if re.fullmatch(_TEMPORARY, str(status)) else ""
            if status != NOT_FOUND:
                break
    except requests.exceptions.SSLError:
        pass  # MLflow has settings of its own for certificates
    except requests.RequestException as error:
        problem = type(error).__name__
    if must and (problem or status == NOT_FOUND):
        later = ", or let the run be delivered later with --tracking deferred" if can_defer else ""
        shown = without_password(uri)
        raise TrackmlError(
            f"no tracking server answers at {shown} ({problem}); start it, or correct or "
            f"unset MLFLOW_TRACKING_URI (without it, ./mlflow.db is used){later}"
            if problem
            else f"what answers at {shown} is not MLflow's tracking server (HTTP {status}); set "
            "MLFLOW_TRACKING_URI to its address alone, such as http://HOST:PORT"
        )
    return not problem


def _check_database_server(uri: str, variable: str) -> None:
    """Raise TrackmlError unless a database server accepts a connection. MLflow tries for 102 s."""
    url = make_url(uri)
    if url.get_backend_name() == "mysql" and "connect_timeout" not in url.query:
        url = url.update_query_dict({"connect_timeout": str(RESPONSE_SECONDS)})
    try:
        engine = mlflow_db.create_sqlalchemy_engine(url.render_as_string(hide_password=False))  # type: ignore[no-untyped-call]
        try:
            engine.connect().close()
        finally:
            engine.dispose()
    except ImportError as error:
        raise TrackmlError(
            f"{variable}: the driver of {url.drivername} is not installed "
            f"({one_line(error)}); install it, or name another one, such as postgresql+psycopg://"
        ) from None
    except SQLAlchemyError as error:
        reason = one_line(getattr(error, "orig", None) or error)
        raise TrackmlError(
            f"the database {without_password(uri)} accepts no connection ({reason}); start it, or "
            f"correct or unset {variable}"
        ) from None


@contextmanager
def request_timeout(seconds: int | None) -> Iterator[None]:
    """Try each request in the block once, for so many seconds; None changes nothing.

    What a user has set takes precedence.
    """
    changes: dict[str, str | None] = {}
    if seconds is not None:
        wanted = {_RETRIES: "0", _TIMEOUT: str(seconds)}
        changes = {k: v for k, v in wanted.items() if os.environ.get(k) in (None, _DEFAULTS[k])}
    # MLflow prints the traceback of a database's error, which is handled here.
    log = logging.getLogger("mlflow.store.db.utils")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with environment(**changes):
            yield
    finally:
        log.setLevel(level)


def is_unreachable(error: BaseException | None) -> bool:
    """True if an error means that the store did not respond, or that it cannot at present."""
    while error:
        match error:
            case requests.HTTPError(response=requests.Response(status_code=status)):
                return bool(re.fullmatch(_TEMPORARY, str(status)))
            case requests.RequestException() | HTTPError() | ConnectionError() | TimeoutError():
                return True
            case MlflowException(error_code="TEMPORARILY_UNAVAILABLE"):
                return True
            # MLflow's error for a response of which it understands the status only.
            case MlflowException() if re.search(f"with error code ({_TEMPORARY}) ", str(error)):
                return True
            # A server whose connections to its database are all in use calls the request bad.
            case MlflowException() if _OUT_OF_CONNECTIONS in str(error):
                return True
        error = error.__cause__ or error.__context__
    return False


def reason_of(error: BaseException) -> str:
    """The innermost cause of an error, in few words."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return f"{type(error).__name__}: {one_line(error)[:200]}"


def shown_address() -> str:
    """The store's address without a password, the same however it was typed."""
    uri = without_password(mlflow.get_tracking_uri())
    if not is_server(uri):
        return uri
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.lower(), path=parts.path.rstrip("/")).geturl()


def check_shared(hosts: int) -> None:
    """Raise UsageError for a database in a file where runs come from several machines."""
    if hosts > 1 and (not is_configured() or database_path(mlflow.get_tracking_uri())):
        raise UsageError(
            f"the {hosts} machines of the Ray cluster cannot share a database in a file; "
            "set MLFLOW_TRACKING_URI to a tracking server that all of them reach"
        )


def registry_lock() -> AbstractContextManager[object]:
    """A lock on the registry.

    It excludes all processes that use a database file; with a server, this user's on this machine.
    """
    uri = mlflow.get_registry_uri()
    if path := database_path(uri):
        return lock_file(path.with_name(f".{path.name}.registry.lock"))
    name = hashlib.sha256(uri.encode()).hexdigest()[:16]
    return FileLock(private_folder() / f"{name}.registry.lock")


def check_variables(client: MlflowClient, *, resume: bool = False) -> None:
    """Raise UsageError if a run would go to a run or experiment that a stale variable names.

    And AlreadyActive if another process may be at work on that run.

    The store responds. `mlflow run` sets MLFLOW_RUN_ID to a run that is RUNNING and has begun
    nothing; a run that is to be resumed may have begun, or ended early.
    """
    variables = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")
    run_id, experiment_id, name = (os.environ.get(variable, "") for variable in variables)
    if run_id:  # it has an experiment
        if problem := _problem_of_run(_found(client.get_run, run_id), resume=resume):
            raise UsageError(
                f"MLFLOW_RUN_ID={run_id}: {problem} in {shown_address()}; unset MLFLOW_RUN_ID"
            )
        return
    if not experiment_id:
        if name:
            _check_active(client.get_experiment_by_name(name))
        return
    experiment = _found(client.get_experiment, experiment_id)
    if experiment is None:
        raise UsageError(
            f"MLFLOW_EXPERIMENT_ID={experiment_id}: there is no such experiment in "
            f"{shown_address()}; unset MLFLOW_EXPERIMENT_ID, or set MLFLOW_EXPERIMENT_NAME instead"
        )
    _check_active(experiment)
    if name and name != experiment.name:
        raise UsageError(
            f"MLFLOW_EXPERIMENT_ID={experiment_id} is the experiment {experiment.name!r}, but "
            f"MLFLOW_EXPERIMENT_NAME is {name!r}; unset one of them"
        )


def _found(get: Callable[[str], Any], identifier: str) -> Any:
    """What has an id; None if nothing has, or nothing can have it."""
    try:
        return get(identifier)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None


def _problem_of_run(run: MlflowRun | None, *, resume: bool) -> str:
    """Why nothing can be logged to a run; "" if it can."""
    if run is None:
        return "there is no such run"
    if run.info.lifecycle_stage != "active":
        return "that run was deleted"
    has_failed = run.info.status in ("FAILED", "KILLED") or FAILURE_TAG in run.data.tags
    if run.info.status not in ("RUNNING", "SCHEDULED"):
        return "" if resume and has_failed else f"that run is {run.info.status}"
    if "trackml.version" not in run.data.tags:
        return ""
    if not resume:
        return "that run was begun by another program"
    if not os.access(outbox_folder(run.data.tags.get(OUTBOX_TAG, run.info.run_id)), os.F_OK):
        check_lease(run)
    return ""


def _check_active(experiment: Experiment | None) -> None:
    if experiment and experiment.lifecycle_stage == "deleted":
        raise UsageError(
            f"the experiment {experiment.name!r} was deleted; bring it back with "
            f"`mlflow experiments restore -x {experiment.experiment_id}`, or set "
            "MLFLOW_EXPERIMENT_NAME to another one, without MLFLOW_EXPERIMENT_ID"
        )


def experiment_id(client: MlflowClient, name: str) -> str:
    """The experiment of that name, created when missing; TrackmlError if it was deleted."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        path = database_path(mlflow.get_tracking_uri())
        # Explicit: MLflow's default is the current folder of the process that creates it.
        folder = re.sub(r"[^\w-]", "_", name)  # a name may be a path, such as "/Users/me/mnist"
        location = artifact_root(path).joinpath(folder).as_uri() if path else None
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:
            experiment = client.get_experiment_by_name(name)  # another process was faster
            if experiment is None:
                raise
    _check_active(experiment)
    return str(experiment.experiment_id)
