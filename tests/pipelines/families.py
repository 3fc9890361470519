"""Runs within a run, as tests see them: in the store, as processes, on two machines."""

import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.entities import Run

from tests.conftest import read, runs, user_environment

PARENT = "mlflow.parentRunId"
MARK = "TRACKML_TEST_SUITE"


@dataclass(frozen=True)
class Ended:
    """A sweep or suite that has ended in a folder of its own, and what it printed."""

    folder: Path
    stdout: str

    @cached_property
    def parent(self) -> Run:
        (parent,) = (run for run in runs(self.folder) if PARENT not in run.data.tags)
        return parent

    @cached_property
    def children(self) -> list[Run]:
        parent_id = self.parent.info.run_id
        return [run for run in runs(self.folder) if run.data.tags.get(PARENT) == parent_id]

    @property
    def candidates(self) -> list[Run]:
        return [child for child in self.children if "trackml.candidate" in child.data.tags]

    @property
    def scored(self) -> list[Run]:
        return [child for child in self.children if child not in self.candidates]

    def artifact(self, path: str) -> str:
        return mlflow.artifacts.load_text(f"{self.parent.info.artifact_uri}/{path}")

    def table(self, path: str) -> pd.DataFrame:
        return pd.read_csv(io.StringIO(self.artifact(path)))

    @property
    def figures(self) -> set[str]:
        files = read(self.folder).list_artifacts(self.parent.info.run_id, "figures")
        return {Path(file.path).stem for file in files}

    def history(self, child: Run, metric: str) -> list[int]:
        """The epochs of a metric that a child has logged."""
        return [row.step for row in read(self.folder).get_metric_history(child.info.run_id, metric)]

    @property
    def registered_run(self) -> Run:
        (version,) = read(self.folder).search_model_versions("name = 'mnist'")
        return read(self.folder).get_run(str(version.run_id))


def names(children: list[Run]) -> list[str]:
    return sorted(str(child.info.run_name) for child in children)


def begun(
    folder: Path, pipeline: str, *flags: str, by: Sequence[str] = (), **environment: str
) -> "subprocess.Popen[str]":
    """A pipeline that was started in a folder, and that runs on; `by` may name what starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", *by, f"pipelines.{pipeline}", *flags],
        cwd=folder,
        env=user_environment() | {MARK: str(folder)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def processes_of(folder: Path) -> list[str]:
    """The processes, of whatever parent, that come from a suite begun in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"{MARK}={folder}\0".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


def wait_until(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)


def begun_and_stopped(
    point: str, folder: Path, pipeline: str, *flags: str, by: Sequence[str] = (), **environment: str
) -> "subprocess.Popen[str]":
    """A pipeline that has stopped itself at a point of `failpoints`; SIGCONT lets it go on."""
    by = ("tests.failpoints", f"SIGSTOP@{point}", *by)
    process = begun(folder, pipeline, *flags, by=by, **environment)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), process.communicate()
    return process


def wait_for_the_end(folder: Path, *, but: str = "nobody") -> None:
    """Wait until no process is left of a suite that was begun in a folder, but for some."""
    while any(but not in process for process in processes_of(folder)):
        time.sleep(0.5)


def in_states(folder: Path, **counts: int) -> bool:
    """Whether so many children of a suite are, for example, FINISHED=1, RUNNING=1."""
    if not (folder / "mlflow.db").exists():
        return False
    found = [run.info.status for run in runs(folder) if PARENT in run.data.tags]
    return all(found.count(state) >= count for state, count in counts.items())


@contextmanager
def two_machines() -> Iterator[str]:
    """The address of a Ray cluster of two machines with a processor each, both this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    # From a folder that is not the checkout, and without its PYTHONPATH: the code is sent there.
    environment = {key: value for key, value in user_environment().items() if key != "PYTHONPATH"}
    environment["RAY_AUTH_MODE"] = "disabled"  # as on a machine where nobody has made a token
    common = ["--num-cpus", "1", "--block", "--disable-usage-stats"]
    head = ["--head", "--port", address.split(":")[1], "--include-dashboard", "false"]
    with ExitStack() as ends:
        for place in (head, ["--address", address]):
            node = subprocess.Popen(
                ["ray", "start", *place, *common],
                cwd="/",
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            ends.callback(node.communicate)
            ends.callback(os.killpg, node.pid, signal.SIGKILL)
            assert node.stdout
            assert any("Ray runtime started" in line for line in node.stdout)
        yield address
