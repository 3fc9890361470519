"""Tracking servers on this machine, as tests start, kill, freeze and restart them."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

import pytest
import requests

from tests.conftest import user_environment
from tests.pages import blocks, with_ours

SERVING = "docs/serving.md"


def free_port() -> int:
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Ports that differ: each is held until all are found."""
    with ExitStack() as held:
        servers = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(server.getsockname()[1]) for server in servers]


@contextmanager
def started(
    command: Sequence[str], answers: str, folder: Path, **environment: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """A server, from when it answers at an address to the end of the block, which kills it."""
    log = folder / "server.txt"
    with log.open("a") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=user_environment() | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"} | environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        # A stranger may answer, on a port that this process could then not take.
        while not is_up(answers) or process.poll() is not None:
            assert process.poll() is None, log.read_text()
            time.sleep(0.2)
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def is_up(address: str) -> bool:
    with suppress(requests.RequestException):
        return requests.get(address, timeout=60).ok
    return False


@contextmanager
def silent() -> Iterator[str]:
    """The address of something that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def served(folder: Path, task: str, alias: str, workers: int = 1) -> Iterator[str]:
    """The address of a model behind the page's own command, with another name and port in it."""
    port = str(free_port())
    first, *_ = blocks(SERVING, "bash")
    command = with_ours(first, {"mnist@champion": f"{task}@{alias}", "5001": port})
    command = f"{command.rstrip()} --workers {workers}"
    address = f"http://127.0.0.1:{port}"
    with started(["bash", "-ec", command], f"{address}/ping", folder):
        yield address


class Server:
    """`mlflow server` in a folder, on a database of its own, which runs for a block.

    In the block it can be killed and started again.
    """

    def __init__(self, folder: Path, database: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port = folder, free_port()
        self.database = database or f"sqlite:///{folder}/server.db"
        self._running = ExitStack()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port)]
        command += ["--backend-store-uri", self.database, "--workers", "1"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        server = started(command, f"{self.uri}/health", self.folder)
        self._process = self._running.enter_context(server)

    def signal(self, number: signal.Signals) -> None:
        """Send all its processes a signal."""
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        self._running.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


@contextmanager
def postgres_cluster(folder: Path) -> Iterator[dict[str, str]]:
    """PostgreSQL as Debian has it: its administrator comes by a socket, all others by password.

    Gives the environment that the administrator's programs need. The test is skipped where there is
    no PostgreSQL.
    """
    programs = _programs()
    pytest.importorskip("psycopg", reason="MLflow's driver of PostgreSQL is not installed here")
    data, port = folder / "postgres", free_port()
    data.mkdir(parents=True)
    user: list[str] = []
    if os.geteuid() == 0:  # which PostgreSQL refuses to be
        user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(data, "postgres")
        for parent in [folder, *folder.parents]:
            with suppress(PermissionError):
                parent.chmod(parent.stat().st_mode | 0o001)
    ways_in = ("--auth-local", "trust", "--auth-host", "scram-sha-256")
    _run(*user, programs / "initdb", "-D", data, "-U", "postgres", *ways_in)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={data}"
    control = [*user, programs / "pg_ctl", "-D", data, "-w", "-l", data / "log.txt"]
    try:
        _run(*control, "-o", options, "start")
        path = f"{programs}:{os.environ['PATH']}"
        yield {"PGHOST": str(data), "PGPORT": str(port), "PGUSER": "postgres", "PATH": path}
    finally:
        with suppress(subprocess.CalledProcessError):  # it may not have started
            _run(*control, "-m", "immediate", "stop")


@contextmanager
def postgres_server(folder: Path) -> Iterator[Server]:
    with postgres_cluster(folder) as administrator:
        _run("psql", "-c", "CREATE ROLE mlflow LOGIN PASSWORD 'mlflow'", **administrator)
        _run("createdb", "--owner", "mlflow", "mlflow", **administrator)
        database = f"postgresql://mlflow:mlflow@127.0.0.1:{administrator['PGPORT']}/mlflow"
        with Server(folder / "server", database) as server:
            yield server


def _programs() -> Path:
    """Where PostgreSQL's programs are; Debian has those of a server off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if on_path := shutil.which("initdb"):
        found.append(Path(on_path).resolve())
    if not found:
        pytest.skip("PostgreSQL is not installed here")  # no Python package: a person installs it
    return found[-1].parent


def _run(*command: object, **environment: str) -> None:
    words, env = [str(word) for word in command], os.environ | environment
    subprocess.run(words, env=env, check=True, stdout=subprocess.DEVNULL, cwd="/")


def as_program(main: Callable[[], object]) -> None:
    """Run what tests also run; what they would be skipped for is one line here, and exit code 1."""
    try:
        main()
    except pytest.skip.Exception as missing:
        raise SystemExit(str(missing)) from None
