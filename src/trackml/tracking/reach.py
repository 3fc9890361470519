"""Whether the tracking store can be reached, and how long a request may take to find out."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import mlflow
import requests
from mlflow.environment_variables import (
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
)
from mlflow.exceptions import MlflowException

from trackml.errors import TrackmlError, one_line

ANSWER_SECONDS = 3  # for a server to say anything
BRIEF_SECONDS = 5  # for a request while training waits
_USUAL_RETRIES = 2  # with MLflow's pauses, 6 s; its own 7 would be minutes
_USUAL_SECONDS = 60
_SERVER_ERROR = 500  # and above, of HTTP: not the request's fault


def limit_requests() -> None:
    """Let no request to a server take minutes to fail, unless its user has set how long it may."""
    os.environ.setdefault(MLFLOW_HTTP_REQUEST_MAX_RETRIES.name, str(_USUAL_RETRIES))
    os.environ.setdefault(MLFLOW_HTTP_REQUEST_TIMEOUT.name, str(_USUAL_SECONDS))


@contextmanager
def patience(seconds: int | None) -> Iterator[None]:
    """Let each request in the block take so long, once; as long as usual where that is None."""
    names = [MLFLOW_HTTP_REQUEST_MAX_RETRIES.name, MLFLOW_HTTP_REQUEST_TIMEOUT.name]
    before = {name: os.environ.get(name) for name in names}
    # MLflow prints the traceback of what a database says, which is handled here.
    log = logging.getLogger("mlflow.store.db.utils")
    level = log.level
    log.setLevel(logging.CRITICAL)
    if seconds is not None:
        os.environ.update(zip(names, ["0", str(seconds)], strict=True))
    try:
        yield
    finally:
        log.setLevel(level)
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({name: value} if value is not None else {})


def is_server(uri: str) -> bool:
    """Whether a store is a server, asked over HTTP."""
    return urlsplit(uri).scheme in ("http", "https")


def check_server(uri: str) -> None:
    """Ask a server for anything.

    Raises:
        TrackmlError: it does not answer.
    """
    try:
        requests.get(uri, timeout=ANSWER_SECONDS)
    except requests.exceptions.SSLError:
        pass  # it answers; whether its certificate will do is for MLflow's own settings to say
    except requests.RequestException as error:
        raise TrackmlError(
            f"no tracking server answers at {without_password(uri)} ({type(error).__name__}); "
            "start it, unset MLFLOW_TRACKING_URI to use ./mlflow.db, or let the run be delivered "
            "later with --tracking deferred"
        ) from None


def answers() -> bool:
    """Whether the store says anything; a database is taken to."""
    uri = mlflow.get_tracking_uri()
    try:
        if is_server(uri):
            check_server(uri)
    except TrackmlError:
        return False
    return True


def is_away(error: BaseException | None) -> bool:
    """Whether an error is of a store that does not answer, or cannot at present."""
    while error:
        if isinstance(error, requests.HTTPError) and error.response is not None:
            return error.response.status_code >= _SERVER_ERROR
        if isinstance(error, requests.RequestException):
            return True
        if isinstance(error, MlflowException) and error.error_code == "TEMPORARILY_UNAVAILABLE":
            return True
        error = error.__cause__ or error.__context__
    return False


def reason_of(error: BaseException) -> str:
    """The innermost cause of an error, in few words."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return f"{type(error).__name__}: {one_line(error)[:200]}"


def shown_address() -> str:
    """The store, as it may be shown."""
    return without_password(mlflow.get_tracking_uri())


def without_password(uri: str) -> str:
    """A store's address as it may be shown."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri  # geturl would drop slashes of a SQLite address
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
