"""The cache: files are checked when read, fetched under a lock, and replaced as a whole."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from trackml.data.sources import Contents, Folder, Mirrors, Source, SourceError
from trackml.errors import TrackmlError
from trackml.files import lock_file, replace_file, writable
from trackml.process.system import can_write, private_folder

_log = logging.getLogger(__name__)

_ORIGINS = "origins.json"  # beside the files: the source of each
_BY_HAND = "put into the cache by hand"


class DataUnavailable(TrackmlError):
    """No source could provide the data."""


@dataclass(frozen=True)
class File:
    """A file of a dataset: its name in the cache, its size in bytes, the SHA-256 of its content."""

    name: str
    size: int
    sha256: str

    def has(self, content: bytes) -> bool:
        """Whether this is the file's content."""
        return len(content) == self.size and hashlib.sha256(content).hexdigest() == self.sha256


@dataclass(frozen=True)
class Dataset:
    """A dataset's files, in the order in which they are parsed, and how to get them.

    Attributes:
        sources: where to fetch files, best first.
        decode: content from a source, expected size → the content to check and cache; ValueError.
        by_hand: names by which a person may put a file into the cache; `{name}` is the file's own.
    """

    name: str
    files: tuple[File, ...]
    sources: tuple[Source, ...]
    decode: Callable[[bytes, int], bytes]
    by_hand: tuple[str, ...]
    classes: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """One checksum of the whole dataset: a single file's own, else that of all checksums."""
        if len(self.files) == 1:
            return self.files[0].sha256
        return hashlib.sha256("".join(file.sha256 for file in self.files).encode()).hexdigest()


def data_dir() -> Path:
    """The folder of all cached data: $TRACKML_DATA_DIR, else the user's cache folder."""
    configured = os.environ.get("TRACKML_DATA_DIR")
    return Path(configured).expanduser().absolute() if configured else user_cache_path("trackml")


def folder_of(dataset: Dataset) -> Path:
    """Where a dataset is or will be cached.

    Where the user's own cache folder lacks it, and cannot be written to, that is a private folder.
    """
    folder = data_dir() / dataset.name
    is_there = all(os.access(folder / file.name, os.R_OK) for file in dataset.files)
    if is_there or os.environ.get("TRACKML_DATA_DIR") or can_write(folder):
        return folder
    return private_folder() / ".cache/trackml" / dataset.name  # as if it were the home


def inspect(dataset: Dataset) -> Iterator[tuple[File, str, str]]:
    """Each file, its state (verified, damaged, missing) and its source. Fetches nothing."""
    folder = folder_of(dataset)
    contents, origins = _verified(dataset, folder), _origins(folder)
    present = {path.name for path in folder.glob("*")}
    for file in dataset.files:
        if file in contents:
            yield file, "verified", origins.get(file.name, _BY_HAND)
        else:
            yield file, "damaged" if file.name in present else "missing", "-"


def fetch(dataset: Dataset) -> tuple[list[bytes], str]:
    """The verified contents of a dataset's files, in order, and their source.

    A file that is missing or damaged in the cache is fetched from the first source that has it,
    once, however many processes ask at the same time.

    Raises:
        DataUnavailable: no source has a file; the message says which file to put where.
        TrackmlError: the cache cannot be written.
    """
    folder = folder_of(dataset)
    contents = _verified(dataset, folder)
    if len(contents) < len(dataset.files):
        keep_in = f"to keep it in {folder}; TRACKML_DATA_DIR sets another folder"
        _log.info("%s: looking for a source, %s", dataset.name, keep_in)
        asked_at = time.time()
        with (
            writable(folder, f"the cache of {dataset.name}", "TRACKML_DATA_DIR"),
            lock_file(folder.with_name(f".{dataset.name}.lock")),
        ):
            contents = _verified(dataset, folder)  # another process may have been faster
            missing = {file.name: file for file in dataset.files if file not in contents}
            if missing:
                contents |= _fetch_or_share_failure(dataset, folder, missing, asked_at)
    origins = _origins(folder)
    sources = dict.fromkeys(origins.get(file.name, _BY_HAND) for file in dataset.files)
    return [contents[file] for file in dataset.files], ", ".join(sources)


def _fetch_or_share_failure(
    dataset: Dataset, folder: Path, missing: dict[str, File], asked_at: float
) -> dict[File, bytes]:
    """Fetch, unless another process has failed to while this one waited for the lock."""
    failure = folder.with_name(f".{dataset.name}.failure")
    if failure.exists() and failure.stat().st_mtime >= asked_at:
        raise DataUnavailable(failure.read_text())
    try:
        return _fetch(dataset, folder, missing)
    except DataUnavailable as error:
        failure.write_text(str(error))
        raise


def _fetch(dataset: Dataset, folder: Path, missing: dict[str, File]) -> dict[File, bytes]:
    """Ask source after source for the missing files, and cache contents with the right checksum."""
    damaged = {name for name in missing if (folder / name).exists()}
    for name in damaged:
        _log.warning("%s is damaged: fetching it again", folder / name)
    contents: dict[File, bytes] = {}
    problems: list[str] = []
    for source in _sources(dataset, folder):
        for name, content in _accepted(dataset, source, missing, damaged, problems):
            _replace(folder / name, content)
            origins = _origins(folder) | {name: source.label}
            _replace(folder / _ORIGINS, json.dumps(origins, indent=2).encode())
            contents[missing.pop(name)] = content
        if not missing:
            return contents
    files = ", ".join(
        " or ".join(dict.fromkeys(member.format(name=name) for member in dataset.by_hand))
        for name in missing
    )
    raise DataUnavailable(
        f"{dataset.name}: no source could provide it ({'; '.join(problems)}). "
        f"Put into {folder}: {files}. Or set TRACKML_DATA_MIRROR to the address of a mirror"
    )


def _sources(dataset: Dataset, folder: Path) -> Iterator[Source]:
    """Files that a person put into the cache, then their own mirror, then the published sources."""
    yield Folder(str(folder), members=dataset.by_hand, label=_BY_HAND)
    if mirror := os.environ.get("TRACKML_DATA_MIRROR"):
        base = f"{mirror.rstrip('/')}/{dataset.name}"
        yield Mirrors(*(f"{base}/{member}" for member in dataset.by_hand))
    yield from dataset.sources


def _accepted(
    dataset: Dataset,
    source: Source,
    missing: dict[str, File],
    damaged: Collection[str],
    problems: list[str],
) -> Contents:
    """The contents of a source that have the right checksum; problems with others are added."""
    try:
        for name, raw in source.fetch(missing):
            try:
                content = dataset.decode(raw, missing[name].size)
                problem = "" if missing[name].has(content) else "wrong checksum"
            except ValueError as error:
                problem = str(error)
            if not problem:
                yield name, content
                continue
            problems.append(f"{source.label}: for {name}: {problem}")
            if name not in damaged:
                _log.warning("%s: not used: %s", dataset.name, problems[-1])
    except SourceError as error:
        problems.append(f"{source.label}: {error}")
    except Exception as error:  # noqa: BLE001  # after any error in a source the next one is asked
        problems.append(f"{source.label}: {type(error).__name__}: {error}")


def _verified(dataset: Dataset, folder: Path) -> dict[File, bytes]:
    """The contents of all cached files that have the right checksum."""
    contents = {}
    for file in dataset.files:
        with suppress(OSError):  # a file that cannot be read is fetched and replaced
            content = (folder / file.name).read_bytes()
            if file.has(content):
                contents[file] = content
    return contents


def _origins(folder: Path) -> dict[str, str]:
    try:
        origins = json.loads((folder / _ORIGINS).read_bytes())
        return {str(name): str(origin) for name, origin in origins.items()}
    except (OSError, ValueError, AttributeError):
        return {}  # unknown origins are no reason to stop: checksums protect the content


def _replace(path: Path, content: bytes) -> None:
    # Readable by others, with whom the cache may be shared.
    replace_file(path, lambda file: file.write(content), permissions=0o644)
