"""Users as containers have them: without a name, without a home, or with one of other people."""

import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.conftest import ROOT, read, runs
from tests.pipelines.expected import EXPECTED
from tests.pipelines.places import OTHER_USER, needs_users, user
from trackml.data.cache import data_dir

pytestmark = needs_users
BRIEF = ("--limit", "500", "--epochs", "1")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of this user, with a path that is too long for a socket, and with tmp in it."""
    with TemporaryDirectory(prefix="trackml-") as outer:  # pytest's own others may not enter
        folder = Path(outer, "a long path " * 8)
        (folder / "tmp").mkdir(parents=True)
        for path in (Path(outer), folder, folder / "tmp"):
            os.chown(path, OTHER_USER, OTHER_USER)
        yield folder


def start(*words: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a module of the project as this user, with these environment variables and no others."""
    needed = {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "PATH": os.environ["PATH"]}
    return subprocess.run(
        [*user(OTHER_USER), sys.executable, "-m", *words],
        cwd=folder,
        env=needed | {"TMPDIR": str(folder / "tmp")} | environment,
        umask=0o077,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "environment"),
    [
        ("scratch_mlp", {}),
        pytest.param("cnn", {"HOME": "/"}, marks=pytest.mark.slow),
        pytest.param("fashion", {"HOME": "/nonexistent"}, marks=pytest.mark.slow),
        pytest.param("housing", {"HOME": "/root"}, marks=pytest.mark.slow),
        pytest.param("transfer", {"TMPDIR": "/nonexistent"}, marks=pytest.mark.slow),
        pytest.param("detector", {"HOME": "/", "TMPDIR": "/"}, marks=pytest.mark.slow),
    ],
)
def test_a_pipeline_runs_for_any_user(name: str, environment: dict[str, str], folder: Path) -> None:
    expected = EXPECTED[name]
    command = (f"pipelines.{expected.pipeline}", *expected.flags, *BRIEF)
    said = start(*command, folder=folder, TRACKML_DATA_DIR=str(data_dir()), **environment)
    assert said.returncode == 0, said.stderr
    assert re.fullmatch(expected.lines, said.stderr)
    (run,) = runs(folder)
    assert (run.info.status, run.data.tags["mlflow.user"]) == ("FINISHED", f"uid{OTHER_USER}")
    assert read(folder).get_model_version_by_alias(expected.task, "champion")
    assert not (folder / "~").exists()


@pytest.fixture
def mirror() -> Iterator[str]:
    """The address at which a web server on this machine shows the data that is cached here."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(data_dir()))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def without_spaces(text: object) -> str:
    """A text as it is however it was wrapped."""
    return "".join(str(text).split())


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, f"trackml-{OTHER_USER}"),
        ({"HOME": "/"}, f"trackml-{OTHER_USER}"),
        ({"HOME": "/root"}, f"trackml-{OTHER_USER}-2"),
    ],
)
def test_data_goes_to_a_private_folder_where_the_user_has_none(
    environment: dict[str, str], name: str, folder: Path, mirror: str
) -> None:
    cached = folder / "tmp" / name / ".cache/trackml"
    if name.endswith("-2"):  # as somebody else has taken the other name
        (folder / f"tmp/trackml-{OTHER_USER}").mkdir(mode=0o777)
    fetch = partial(start, "trackml", "data", "california_housing", folder=folder, **environment)
    said = fetch(TRACKML_DATA_MIRROR=mirror)
    assert said.returncode == 0, said.stderr
    (line,) = said.stderr.splitlines()
    assert f"to keep it in {cached}/california_housing; TRACKML_DATA_DIR" in line
    assert without_spaces(cached) in without_spaces(said.stdout)
    assert (cached / "california_housing/california_housing.f4").exists()
    assert (folder / "tmp" / name).stat().st_mode & 0o777 == 0o700
    assert (fetch().returncode, fetch().stderr) == (0, "")


def test_data_in_a_home_that_cannot_be_written_to_is_used(folder: Path) -> None:
    home = folder / "home"
    shutil.copytree(data_dir() / "california_housing", home / ".cache/trackml/california_housing")
    said = start("trackml", "data", "california_housing", folder=folder, HOME=str(home))
    assert (said.returncode, said.stderr) == (0, ""), said.stderr
    assert without_spaces(home) in without_spaces(said.stdout)
    assert "verified" in said.stdout
    # Other data cannot go there.
    said = start("trackml", "data", "mnist", "--list", folder=folder, HOME=str(home))
    assert without_spaces(folder / "tmp") in without_spaces(said.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{}, {"HOME": "/"}])
def test_sweeps_and_commands_run_for_any_user(environment: dict[str, str], folder: Path) -> None:
    here = partial(start, folder=folder, TRACKML_DATA_DIR=str(data_dir()), **environment)
    mlp = ("--pipeline", "scratch_mnist", "--fixed", "model=mlp", "--repeat_best", "1")
    rates = ("--space", "learning_rate=0.1|0.2", "--trials", "2")
    for words in (
        ("pipelines.sweep", *mlp, *rates, *BRIEF),
        ("pipelines.cnn_suite", "--variants", "plain", *BRIEF),
        ("pipelines.compare",),
        ("trackml", "runs"),
        ("trackml", "sync"),
    ):
        said = here(*words)
        assert (said.returncode, said.stderr) == (0, ""), f"{words}: {said.stderr}"
    assert {run.info.status for run in runs(folder)} == {"FINISHED"}
