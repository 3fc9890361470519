"""The cache: content verified when read, fetched under a lock, replaced whole or not at all."""

import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock
from platformdirs import user_cache_path

from trackml.data.catalog import Dataset, File
from trackml.data.sources import Delivery, Folder, Mirrors, Source, SourceError
from trackml.errors import TrackmlError

_log = logging.getLogger(__name__)

_ORIGINS = "origins.json"  # beside the files: which source delivered which
_BY_HAND = "put into the cache by hand"


class DataUnavailable(TrackmlError):
    """No source delivered the data, or the cache cannot be written."""


@dataclass(frozen=True)
class Cached:
    """A file of a dataset as the cache has it."""

    file: File
    state: Literal["verified", "damaged", "missing"]
    origin: str


def data_dir() -> Path:
    """The folder of all cached data: $TRACKML_DATA_DIR, else the user's cache folder."""
    configured = os.environ.get("TRACKML_DATA_DIR")
    return Path(configured).expanduser().absolute() if configured else user_cache_path("trackml")


def inspect(dataset: Dataset) -> list[Cached]:
    """What the cache holds of a dataset. Fetches nothing."""
    folder = data_dir() / dataset.name
    origins = _origins(folder)
    listing = []
    for file in dataset.files:
        content = _content(folder / file.name)
        state: Literal["verified", "damaged", "missing"] = (
            "missing" if content is None else "verified" if _matches(content, file) else "damaged"
        )
        origin = origins.get(file.name, _BY_HAND) if state == "verified" else "-"
        listing.append(Cached(file, state, origin))
    return listing


def fetch(dataset: Dataset) -> tuple[list[bytes], str]:
    """The verified contents of a dataset's files, in order, and the source that delivered them.

    What is missing or damaged in the cache is fetched from the first source that has it, once,
    however many processes ask at the same time.

    Raises:
        DataUnavailable: no source delivered; the message says which file to put where.
    """
    folder = data_dir() / dataset.name
    contents = _verified(dataset, folder)
    if len(contents) < len(dataset.files):
        _log.info("%s: looking for a source", dataset.name)
        asked_at = time.time()
        with _writable(folder), FileLock(folder.with_name(f".{dataset.name}.lock")):
            contents = _verified(dataset, folder)  # another process may have been faster
            wanted = [file for file in dataset.files if file not in contents]
            if wanted:
                contents |= _deliver_or_share_failure(dataset, folder, wanted, asked_at)
    origins = _origins(folder)
    sources = dict.fromkeys(origins.get(file.name, _BY_HAND) for file in dataset.files)
    return [contents[file] for file in dataset.files], ", ".join(sources)


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """Make `folder`; what then keeps it from being written is explained."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise DataUnavailable(
            f"{folder.name}: cannot write to {folder}: {error.strerror or error}; make room there "
            "and make it writable, or set TRACKML_DATA_DIR to another folder"
        ) from error


def _deliver_or_share_failure(
    dataset: Dataset, folder: Path, wanted: list[File], asked_at: float
) -> dict[File, bytes]:
    """`_deliver`, but a failure is that of all who waited for the lock meanwhile."""
    note = folder.with_name(f".{dataset.name}.failure")
    if note.exists() and note.stat().st_mtime >= asked_at:
        raise DataUnavailable(note.read_text())
    try:
        return _deliver(dataset, folder, wanted)
    except DataUnavailable as error:
        note.write_text(str(error))
        raise


def _deliver(dataset: Dataset, folder: Path, wanted: list[File]) -> dict[File, bytes]:
    """Ask source after source for `wanted`, and keep what matches its sum."""
    for file in wanted:
        if (folder / file.name).exists():
            _log.warning("%s is damaged: fetching it again", folder / file.name)
    delivered: dict[File, bytes] = {}
    problems = []
    missing = {file.name: file for file in wanted}
    for source in _sources(dataset, folder):
        try:
            for name, raw in _offers(source, missing):
                try:
                    content = _checked(dataset, missing[name], raw)
                except ValueError as error:
                    problems.append(f"{source.label}: for {name}: {error}")
                    if not (folder / name).exists():  # else a warning was given above
                        _log.warning("%s: not used: %s", dataset.name, problems[-1])
                    continue
                _replace(folder / name, content)
                _replace(
                    folder / _ORIGINS,
                    json.dumps(_origins(folder) | {name: source.label}, indent=2).encode(),
                )
                delivered[missing.pop(name)] = content
        except SourceError as error:
            problems.append(f"{source.label}: {error}")
        if not missing:
            return delivered
    places = ", ".join(
        " or ".join(dict.fromkeys(member.format(name=name) for member in dataset.by_hand))
        for name in missing
    )
    raise DataUnavailable(
        f"{dataset.name}: nobody delivered it ({'; '.join(problems)}). "
        f"Put into {folder}: {places}. Or name a mirror in TRACKML_DATA_MIRROR"
    )


def _offers(source: Source, names: Collection[str]) -> Delivery:
    """What a source delivers. Whatever breaks in it is its own problem: the next one is asked."""
    try:
        yield from source.fetch(names)
    except SourceError:
        raise
    except Exception as error:
        raise SourceError(f"{type(error).__name__}: {error}") from error


def _checked(dataset: Dataset, file: File, raw: bytes) -> bytes:
    content = dataset.decode(raw, file.size)
    if not _matches(content, file):
        raise ValueError("wrong checksum")
    return content


def _sources(dataset: Dataset, folder: Path) -> Iterator[Source]:
    """What a person put into the cache, then their own mirror, then the published sources."""
    yield Folder(str(folder), members=dataset.by_hand, label=_BY_HAND)
    if mirror := os.environ.get("TRACKML_DATA_MIRROR"):
        base = f"{mirror.rstrip('/')}/{dataset.name}"
        yield Mirrors(*(f"{base}/{member}" for member in dataset.by_hand))
    yield from dataset.sources


def _verified(dataset: Dataset, folder: Path) -> dict[File, bytes]:
    contents = ((file, _content(folder / file.name)) for file in dataset.files)
    return {file: content for file, content in contents if content and _matches(content, file)}


def _matches(content: bytes, file: File) -> bool:
    return len(content) == file.size and hashlib.sha256(content).hexdigest() == file.sha256


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None  # what cannot be read is as good as missing: it is fetched and replaced


def _origins(folder: Path) -> dict[str, str]:
    try:
        origins = json.loads((folder / _ORIGINS).read_bytes())
        return {str(name): str(origin) for name, origin in origins.items()}
    except (OSError, ValueError, AttributeError):
        return {}  # unknown is no reason to stop: the sums vouch for the content


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, finds the old content or the new one whole."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp's 0600 would shut out others who share the cache
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
