"""Whether the tracking store can be reached, and how long a request may take to find out."""

import logging
import os
import re
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
from urllib3.exceptions import HTTPError

from trackml.errors import TrackmlError, one_line

ANSWER_SECONDS = 3  # for a server to say anything
BRIEF_SECONDS = 5  # for a request while training waits
END_SECONDS = 20  # for the last one
_NAMES = [MLFLOW_HTTP_REQUEST_MAX_RETRIES.name, MLFLOW_HTTP_REQUEST_TIMEOUT.name]
_USUAL = ["2", "60"]  # retries, seconds of each: MLflow's own 7 and 120 would be a quarter hour
_NOT_NOW = "429|5[0-9][0-9]"  # statuses of HTTP that are not the request's fault


def limit_requests() -> None:
    """Let no request to a server take minutes to fail, unless its user has set how long it may."""
    for name, usual in zip(_NAMES, _USUAL, strict=True):
        os.environ.setdefault(name, usual)


@contextmanager
def patience(seconds: int | None) -> Iterator[None]:
    """Let each request in the block take so long, once; as long as usual where that is None.

    What a user has set holds anyway.
    """
    before = {name: os.environ.get(name) for name in _NAMES}
    # MLflow prints the traceback of what a database says, which is handled here.
    log = logging.getLogger("mlflow.store.db.utils")
    level = log.level
    log.setLevel(logging.CRITICAL)
    if seconds is not None:
        wanted = zip(_NAMES, ["0", str(seconds)], _USUAL, strict=True)
        changed = {name: text for name, text, usual in wanted if before[name] in (None, usual)}
        os.environ.update(changed)
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
        status = str(requests.get(uri, timeout=ANSWER_SECONDS).status_code)
        problem = f"HTTP {status}" if re.fullmatch(_NOT_NOW, status) else ""
    except requests.exceptions.SSLError:
        problem = ""  # whether its certificate will do is for MLflow's own settings to say
    except requests.RequestException as error:
        problem = type(error).__name__
    if problem:
        raise TrackmlError(
            f"no tracking server answers at {without_password(uri)} ({problem}); "
            "start it, unset MLFLOW_TRACKING_URI to use ./mlflow.db, or let the run be delivered "
            "later with --tracking deferred"
        )


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
        match error:
            case requests.HTTPError(response=requests.Response(status_code=status)):
                return bool(re.fullmatch(_NOT_NOW, str(status)))
            case requests.RequestException() | HTTPError() | ConnectionError() | TimeoutError():
                return True
            case MlflowException(error_code="TEMPORARILY_UNAVAILABLE"):
                return True
            # What MLflow makes of an answer of which it knows no more than the status.
            case MlflowException() if re.search(f"with error code ({_NOT_NOW}) ", str(error)):
                return True
        error = error.__cause__ or error.__context__
    return False


def reason_of(error: BaseException) -> str:
    """The innermost cause of an error, in few words."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return f"{type(error).__name__}: {one_line(error)[:200]}"


def shown_address() -> str:
    """The store as it may be shown, and by which it is known: the same, however it was typed."""
    uri = without_password(mlflow.get_tracking_uri())
    if not is_server(uri):
        return uri
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.lower(), path=parts.path.rstrip("/")).geturl()


def without_password(uri: str) -> str:
    """A store's address as it may be shown."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri  # geturl would drop slashes of a SQLite address
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
