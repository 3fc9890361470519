"""The address of the store: what people type, what is shown of it, its file, and its pages."""

import re
import shlex
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
from mlflow.environment_variables import MLFLOW_ALLOW_FILE_STORE
from mlflow.exceptions import MlflowException
from mlflow.store.db.db_types import DATABASE_ENGINES
from mlflow.tracking import MlflowClient
from mlflow.tracking._tracking_service import utils as mlflow_stores
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from trackml.errors import TrackmlError, UsageError
from trackml.tasks import IS_INSTALLED, is_in_checkout
from trackml.ui.links import ui_link

LOCAL = "http://127.0.0.1:5000"  # where `mlflow ui` serves a store
TRACKING, REGISTRY = "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"
_HOST = r"(\*\*\*@)?(localhost|[\w-]+(\.[\w-]+)+|[\w-]+(?=:\d)|\[[\da-f:]+\])(:\d+)?(/.*)?"
_SECRET = re.compile(r"([?&]\w*(password|passwd|token|secret)\w*=)[^&]*")


def is_configured() -> bool:
    """True if the environment or this process named a store."""
    return bool(mlflow.is_tracking_uri_set())  # type: ignore[no-untyped-call]


def store_uri() -> str:
    """The address of the configured store, else of ./mlflow.db; UsageError if it is no address.

    The path of a database is made absolute, so that artifacts and messages do not depend on the
    current folder.
    """
    uri = "sqlite:///mlflow.db"
    if is_configured():
        uri = mlflow.get_tracking_uri()
        check_address(uri)
    path = database_path(uri)
    return sqlite_uri(path, options=uri.partition("?")[2]) if path else uri


def check_address(typed: str, variable: str = TRACKING) -> None:
    """Raise UsageError, which says what to type instead, for an address that MLflow cannot use."""
    if _is_usable(typed):
        return
    # As there may be errors anywhere in it, everything before an @ is taken for a password.
    shown = re.sub(r"(?s)^([\s'\"]*(?:[\w+.-]+:/+|https?/+|:?/+)?).*@", r"\1***@", typed)
    shown = _SECRET.sub(r"\1***", shown)
    meant = _meant(shown.strip(" \t\r\n'\""))
    if _is_usable(meant):
        remedy = f"set {variable}={meant}"
    else:
        remedy = (
            "set it to http://HOST:PORT for a server, or to sqlite:////FOLDER/mlflow.db for a file "
            "(`mlflow migrate-filestore` makes one of an mlruns folder), or unset it; in a "
            "password write @ as %40, / as %2F"
        )
    raise UsageError(f"{variable}={shown!r} is not the address of a store; {remedy}")


def _is_usable(uri: str) -> bool:
    """True if MLflow can use an address, even if nothing responds there."""
    if not uri or re.search(r"[\s'\"]", urlsplit(uri).netloc) or uri != uri.strip(" \t\r\n'\""):
        return False
    try:
        scheme = mlflow_stores._get_tracking_scheme(uri)  # noqa: SLF001
        if scheme in ("http", "https"):
            parts = urlsplit(uri)
            has_port = parts.port is None or parts.port > 0  # ValueError if it is no number
            return bool(parts.hostname) and has_port and not (parts.query or parts.fragment)
        if scheme in DATABASE_ENGINES:
            host = make_url(uri).host or ""
            return not host if scheme == "sqlite" else "@" not in host
    except (ValueError, ArgumentError, MlflowException):
        return False
    allows_folders = bool(MLFLOW_ALLOW_FILE_STORE.get())  # type: ignore[no-untyped-call]
    return scheme != "None" and (scheme not in ("", "file") or allows_folders)


def _meant(typed: str) -> str:
    """The address that was probably meant."""
    plain = re.sub(r"[#?].*", "", typed)  # of a browser: /#/experiments/1
    path = plain.removeprefix("file://")
    if re.search(r"\.(db|sqlite3?)$", plain) and not re.match(r"[\w+]+:(?!//\w)", path):
        return sqlite_uri(Path(path.partition("://")[2] or path).expanduser().absolute())
    if match := re.fullmatch(r"sqlite3?:(/*)(.+)", plain):
        slashes, name = match.groups()
        return f"sqlite:///{'/' if len(slashes) in (1, 4) else ''}{name}"
    if match := re.fullmatch(r"(https?)[:;]?/*(.+)", plain) or re.fullmatch(
        r"(postgres)(?:ql)?:/*(.+)", plain
    ):
        scheme = match[1].replace("postgres", "postgresql")
        return f"{scheme}://{match[2]}"
    host = re.sub(r"^(:?//)", "", plain)
    return f"http://{host}" if re.fullmatch(_HOST, host) else plain


def is_server(uri: str) -> bool:
    """True if a store is a server, reached over HTTP."""
    return urlsplit(uri).scheme in ("http", "https")


def is_database_server(uri: str) -> bool:
    """True if a store is a database that MLflow reaches over the network, such as PostgreSQL."""
    backend = urlsplit(uri).scheme.partition("+")[0]
    return backend in DATABASE_ENGINES and backend != "sqlite"


def database_path(uri: str) -> Path | None:
    """The absolute path of the file behind a SQLite URI; None for all other stores."""
    if not uri.startswith("sqlite:"):
        return None
    name = make_url(uri).database
    return Path(name).absolute() if name and name != ":memory:" else None


def sqlite_uri(path: Path, options: str = "") -> str:
    """The URI of a database, with no more escaped than SQLAlchemy needs, for people to read."""
    uri = "sqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")
    return f"{uri}?{options}" if options else uri


def check_exists(database: Path) -> None:
    """Raise TrackmlError for a database that is to be read, and does not exist."""
    if not database.exists():
        raise TrackmlError(
            f"there is no {database}; run a pipeline first, or go to the folder of your mlflow.db, "
            "or set MLFLOW_TRACKING_URI"
        )


def without_password(uri: str) -> str:
    """An address that may be shown."""
    if is_server(uri):
        uri = re.sub(r"//[^/]*@", "//", uri, count=1)
    elif is_database_server(uri):
        uri = re.sub(r"//\S*@", "//", uri, count=1)  # a / in a password is one of it
    else:
        return uri
    return _SECRET.sub(r"\1***", uri)


def ui_command() -> str:
    """The command, or the address, that shows the store."""
    uri = mlflow.get_tracking_uri()
    if is_server(uri):
        return f"open {without_password(uri)}"
    if path := database_path(uri):
        is_default = path == Path("mlflow.db").absolute()
        if is_default and (IS_INSTALLED or is_in_checkout()):
            return "trackml ui" if IS_INSTALLED else "make ui"
        uri = "sqlite:///mlflow.db" if is_default else shlex.quote(uri)
        return f"mlflow ui --backend-store-uri {uri}"
    return 'mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"'  # it may hold a password


def ui_lines(experiment_id: str) -> list[str]:
    """What to type, and what to open then, to see the runs of an experiment; "" is unknown yet."""
    command, uri = ui_command(), mlflow.get_tracking_uri()
    if not experiment_id:
        return [command]
    server = without_password(uri) if is_server(uri) else LOCAL
    page = ui_link(server, experiment=experiment_id, short=True)
    return [f"open {page}"] if is_server(uri) else [command, page]


def experiment_name(experiment_id: str) -> str:
    """The name of an experiment; its id if the store does not say it now."""
    with suppress(MlflowException):
        return str(MlflowClient().get_experiment(experiment_id).name)
    return experiment_id
