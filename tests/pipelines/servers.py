"""Tracking servers on this machine, as tests start, kill, freeze and restart them."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests

from tests.conftest import user_environment


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Server:
    """`mlflow server` in a folder, on a database of its own."""

    def __init__(self, folder: Path, database: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.database, self.port = folder, database, free_port()
        self.process: subprocess.Popen[str] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port)]
        command += ["--backend-store-uri", self.database, "--workers", "1"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        with (self.folder / "log.txt").open("a") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=user_environment() | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        until = time.monotonic() + 90
        while True:
            with suppress(requests.RequestException):
                if requests.get(f"{self.uri}/health", timeout=2).ok:
                    return
            assert time.monotonic() < until, (self.folder / "log.txt").read_text()
            time.sleep(0.2)

    def signal(self, number: signal.Signals) -> None:
        """Send all its processes a signal."""
        assert self.process
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        if self.process:
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


@contextmanager
def sqlite_server(folder: Path) -> Iterator[Server]:
    server = Server(folder, f"sqlite:///{folder}/server.db")
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """The address of a database of PostgreSQL's; the test is skipped where there is none."""
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
                parent.chmod(parent.stat().st_mode | 0o011)
    _run(*user, programs / "initdb", "-D", data, "-U", "mlflow", "-A", "trust")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={data}"
    control = [*user, programs / "pg_ctl", "-D", data, "-w", "-l", data / "log.txt"]
    _run(*control, "-o", options, "start")
    try:
        _run(programs / "createdb", "-h", "127.0.0.1", "-p", port, "-U", "mlflow", "mlflow")
        yield f"postgresql://mlflow@127.0.0.1:{port}/mlflow"
    finally:
        _run(*control, "-m", "immediate", "stop")


def _programs() -> Path:
    """Where PostgreSQL's programs are; Debian has those of a server off the PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if on_path := shutil.which("initdb"):
        folders.append(Path(on_path).resolve().parent)
    folders = [folder for folder in folders if (folder / "initdb").exists()]
    if not folders:
        pytest.skip("PostgreSQL is not installed here")
    return folders[-1]


def _run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, cwd="/")


@contextmanager
def postgres_server(folder: Path) -> Iterator[Server]:
    with postgres(folder) as database:
        server = Server(folder / "server", database)
        try:
            server.start()
            yield server
        finally:
            server.kill()
