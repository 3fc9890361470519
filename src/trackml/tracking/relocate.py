"""A project folder that was renamed, moved or copied.

A SQLite database has absolute paths of its artifacts. When its folder has moved, they still name
the old place: MLflow would find nothing there, make the folder anew, and write to it.
"""

import shlex
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from trackml.errors import AlreadyActive, TrackmlError, UsageError
from trackml.tracking.address import database_path, sqlite_uri, store_uri, without_password
from trackml.tracking.database import ARTIFACTS, open_database
from trackml.tracking.lease import run_lock
from trackml.tracking.outbox import Outbox, RunState, outbox_folders

_PARENTS = 3  # of a database: it may be in a sub folder of its project
_READY = 2  # the status of a logged model whose files are complete
# All that MLflow keeps of places of artifacts: table, column, which rows.
_LOCATIONS = (
    ("experiments", "artifact_location", ""),
    ("runs", "artifact_uri", ""),
    ("logged_models", "artifact_location", ""),
    ("model_versions", "source", ""),
    ("model_versions", "storage_location", ""),
    ("trace_tags", "value", "AND key = 'mlflow.artifactLocation'"),
)


@dataclass(frozen=True)
class Move:
    """A folder of artifacts, where the database has it, and where it is now, or should be."""

    old: Path
    new: Path

    def of(self, path: Path) -> Path | None:
        """The new path of a file that was in the old folder; None for other files."""
        return self.new / path.relative_to(self.old) if path.is_relative_to(self.old) else None

    def project_of(self, database: Path, store: str) -> Path | None:
        """The folder that was moved with a database, if `store` is the address it had before."""
        before = database_path(store)
        for number, project in enumerate(database.parents[:_PARENTS], start=1):
            if before == self.old.parent.joinpath(*database.parts[-number:]):
                return project
        return None


@dataclass(frozen=True)
class Relocated:
    """What `relocate` has changed: places in the database, outboxes; and outboxes it had to skip.

    `active` are names of runs that a process is at work on.
    """

    moves: Sequence[Move]
    places: int
    outboxes: int
    active: tuple[str, ...]


def check_location(database: Path) -> None:
    """Raise TrackmlError if a database has its artifacts where its folder was before."""
    try:
        moves = find_moves(database)
    except sqlite3.Error as error:
        raise TrackmlError(f"cannot read {database} ({error}); try again in a minute") from error
    for move in moves[:1]:
        is_default = database == Path("mlflow.db").absolute()
        store = "" if is_default else f"MLFLOW_TRACKING_URI={shlex.quote(sqlite_uri(database))} "
        raise TrackmlError(
            f"{database} was moved or copied: it names {move.old} as the folder of its artifacts, "
            f"not {move.new}; `{store}python -m trackml relocate` puts that right"
        )


def find_moves(database: Path) -> list[Move]:
    """The moves that explain where a database has its artifacts; none if all is well.

    A folder has moved if artifacts of the database's own runs are beside it as well, below the same
    name; or if it is the `mlruns` of a project that is gone, or that has the original database.
    Artifacts that are elsewhere on purpose, on a server or another disk, have not moved.
    """
    home = database.parent
    moves: dict[Path, Move] = {}
    with closing(open_database(database)) as connection:
        rows = connection.execute(
            "SELECT experiment_id, artifact_location, creation_time FROM experiments"
        ).fetchall()
        paths = [(_local_path(location), experiment, made) for experiment, location, made in rows]
        outside = [
            (path, experiment, made)
            for path, experiment, made in paths
            if path
            and not path.is_relative_to(home)
            and not path.resolve().is_relative_to(home.resolve())
        ]
        for path, experiment, _ in outside:
            if not _is_in(path, moves) and (move := _found(connection, database, path, experiment)):
                moves[move.old] = move
    for path, _, made in outside:
        if not _is_in(path, moves) and _is_lost(database, path.parent, made):
            moves[path.parent] = Move(path.parent, home / ARTIFACTS)
    return list(moves.values())


def _is_in(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _found(
    connection: sqlite3.Connection, database: Path, path: Path, experiment: int
) -> Move | None:
    """The move after which artifacts of an experiment are beside the database, or near it."""
    for folder in database.parents[:_PARENTS]:
        for parts in (path.parts[-2:], path.parts[-1:], path.parts[-3:]):
            place = folder.joinpath(*parts)
            if parts[0] == "/" or not _exists(place):
                continue
            if _exists(path) and place.samefile(path):
                return None
            if _has_artifacts(connection, experiment, place):
                return Move(path.parents[len(parts) - 2] if parts[1:] else path, folder / parts[0])
    return None


def _is_lost(database: Path, root: Path, made: int) -> bool:
    """True if a folder of artifacts went with its project, or belongs to the original database."""
    is_gone = _exists(root.parent) is False
    original = root.parent / database.name
    return root.name == ARTIFACTS and (is_gone or _is_copy(database, original, made))


def _has_artifacts(connection: sqlite3.Connection, experiment: int, place: Path) -> bool:
    """True if a folder has artifacts of an experiment's runs: nobody else has their ids."""
    of_runs = connection.execute("SELECT run_uuid FROM runs WHERE experiment_id = ?", [experiment])
    return any(_exists(place / run_id) for (run_id,) in of_runs)


def _exists(path: Path) -> bool | None:
    """True if there is such a file or folder; None if this user must not know."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return None
    return True


def _is_copy(database: Path, original: Path, created: int) -> bool:
    """True if another file has the same experiment, made in the same millisecond."""
    if not _exists(original) or original.samefile(database):
        return False
    try:
        with closing(open_database(original)) as connection:
            same = "SELECT 1 FROM experiments WHERE creation_time = ?"
            return connection.execute(same, [created]).fetchone() is not None
    except (OSError, sqlite3.Error):
        return False


def relocate_store(
    old: str | None = None, new: str | None = None, *, allow_missing: bool = False
) -> Relocated:
    """As `relocate`, for the configured database and the moves that it needs.

    Args:
        old: the folder of artifacts before, if it is to be another one.
        new: the folder of artifacts now; by default `mlruns` beside the database.

    Raises:
        UsageError: the store is not a database in a file, or there are several moves, and one new
            folder.
    """
    uri = store_uri()
    database = database_path(uri)
    if database is None:
        raise UsageError(
            f"{without_password(uri)} is not a database in a file: only such a one is relocated; "
            "set MLFLOW_TRACKING_URI to it, or unset it to use ./mlflow.db"
        )
    if not database.is_file():
        raise TrackmlError(
            f"there is no {database}; run this in its folder, or set MLFLOW_TRACKING_URI"
        )
    try:
        moves = find_moves(database)
    except sqlite3.Error as error:
        raise TrackmlError(f"{database} is not an intact MLflow database ({error})") from None
    if old:
        moves = [Move(Path(old).expanduser().absolute(), database.with_name(ARTIFACTS))]
    if new and len(moves) > 1:
        raise UsageError(f"--to: artifacts come from {len(moves)} folders; name one with --from")
    if new:
        moves = [replace(move, new=Path(new).expanduser().absolute()) for move in moves]
    return relocate(database, uri, moves, allow_missing=allow_missing)


def relocate(
    database: Path, address: str, moves: Sequence[Move], *, allow_missing: bool = False
) -> Relocated:
    """Let a database, and the outboxes of its unfinished runs, name the new places.

    All of the database changes, or nothing. Doing it twice changes nothing more.

    Args:
        address: of the store, as outboxes have it.
        allow_missing: also if artifacts are not in the new places.

    Raises:
        TrackmlError: artifacts are not in the new places; or the database cannot be written.
    """

    def relocated(location: str | None) -> str | None:
        path = _local_path(location)
        places = (move.of(path) for move in moves if path)
        place = next(filter(None, places), None)
        return place.as_uri() if place else location

    try:
        with closing(open_database(database)) as connection:
            connection.create_function("relocated", 1, relocated, deterministic=True)
            connection.execute("BEGIN IMMEDIATE")
            if not allow_missing:
                _check_artifacts(connection, moves)
            changed = 0
            for table, column, rows in _LOCATIONS:
                statement = f"UPDATE {table} SET {column} = relocated({column}) "  # noqa: S608  # ours
                condition = f"WHERE {column} != relocated({column}) {rows}"
                changed += connection.execute(statement + condition).rowcount
            # Before the database: it has to tell a second try of the move.
            outboxes, active = _relocate_outboxes(database, address, moves)
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise TrackmlError(f"cannot change {database} ({error}); it is as it was") from error
    return Relocated(moves, changed, outboxes, active)


def _check_artifacts(connection: sqlite3.Connection, moves: Iterable[Move]) -> None:
    """Raise TrackmlError unless what a database refers to is in the new places."""
    runs = connection.execute("SELECT artifact_uri, 0 FROM runs").fetchall()
    models = connection.execute(
        "SELECT artifact_location, status = ? AND lifecycle_stage = 'active' FROM logged_models",
        [_READY],
    ).fetchall()
    for move in moves:
        missing, affected = [], 0
        for location, is_complete in runs + models:
            path = _local_path(location)
            if path is None or (place := move.of(path)) is None:
                continue
            affected += 1
            if not _exists(place) and (is_complete or _exists(path)):
                missing.append(place)
        if affected and not _exists(move.new):
            missing.insert(0, move.new)
        if missing:
            source = f"{shlex.quote(str(move.old))}/. {shlex.quote(str(move.new))}"
            how = f" (`cp -rn {source}`)" if _exists(move.old) else ""
            raise TrackmlError(
                f"nothing was changed: {len(missing)} folders of artifacts are not in the new "
                f"place, the first is {missing[0]}; copy them there{how}, or name the folder that "
                f"has them in place of {move.old} with --to; --allow_missing gives them up"
            )


def _relocate_outboxes(
    database: Path, address: str, moves: Iterable[Move]
) -> tuple[int, tuple[str, ...]]:
    """Give the outboxes of a database its new address; how many, and the names of active runs."""
    changed, active = 0, []
    for folder, state in _states():
        projects = (move.project_of(database, state.store) for move in moves)
        project = next(filter(None, projects), None)
        if not project:
            continue
        # With TRACKML_RUNS_DIR it may be of a run of the original, if that is still there.
        original = database_path(state.store)
        is_ours = folder.resolve().is_relative_to(project.resolve())
        if not is_ours and original and original.exists():
            continue
        try:
            with run_lock(folder, state.run_id):
                Outbox(folder, RunState.read(folder)).update(store=address)
            changed += 1
        except AlreadyActive:
            active.append(state.run_id or folder.name)
    return changed, tuple(active)


def _states() -> Iterator[tuple[Path, RunState]]:
    """All outboxes that can be read, and what they say."""
    for folder in outbox_folders():
        try:
            yield folder, RunState.read(folder)
        except TrackmlError:
            continue  # `resume` and `sync` say what is wrong with it


def _local_path(location: str | None) -> Path | None:
    """The path behind a place of artifacts, read as MLflow does; None if it is not on this disk."""
    parts = urlsplit(location or "")
    path = url2pathname(parts.path if parts.scheme else location or "")
    is_local = parts.scheme in ("", "file") and parts.netloc in ("", "localhost")
    return Path(path) if is_local and Path(path).is_absolute() else None
