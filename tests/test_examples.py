"""Commands of README and the pages: all are understood; `make examples` runs them in a clone."""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from PIL import Image

from tests.conftest import ROOT, entry_points, runs, user_environment
from tests.pages import WITH_COMMANDS
from tests.pipelines.servers import free_port, started

COMMAND = re.compile(r"(make|mlflow run|conda|(PYTHONPATH=\.:src )?python -m) .+")
PAGES = ("README.md", *(f"docs/{name}.md" for name in WITH_COMMANDS))


def commands(*pages: str) -> list[str]:
    """Those of the pages' blocks and of their sentences, from top to bottom."""
    text = "\n".join((ROOT / page).read_text() for page in pages).replace("\\\n", "")
    found: list[str] = []
    for match in re.finditer(r"^```(\w+)\n(.*?)^```|`([^`\n]+)`", text, re.DOTALL | re.MULTILINE):
        language, block, words = match.groups()
        if language == "bash":
            found += block.splitlines()
        elif words and COMMAND.fullmatch(words):
            found.append(words)
    return list(dict.fromkeys(found))


@pytest.mark.parametrize(
    "command",
    [each for each in commands(*PAGES, "docs/team-server.md") if each.startswith("mlflow run")],
)
def test_an_entry_point_takes_what_an_example_gives_it(command: str) -> None:
    mlflow, run, folder, *options = shlex.split(command)
    assert (mlflow, run, folder) == ("mlflow", "run", ".")
    parser = argparse.ArgumentParser()
    parser.add_argument("-e", default="main")
    parser.add_argument("-P", action="append", default=[])
    parser.add_argument("--env-manager", choices=["local"])
    given = parser.parse_args(options)
    (module,) = re.findall(r"-m (pipelines\.\w+)", entry_points()[given.e]["command"])
    values = dict(value.split("=", 1) for value in given.P)
    import_module(module).Params.parse(values)  # else it raises


@pytest.fixture(scope="module")
def clone() -> Iterator[Path]:
    """A fresh clone of what is committed; 16 GB are gone from the disk when it has run."""
    with TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "--quiet", ROOT, f"{folder}/trackml"], check=True)
        yield Path(folder, "trackml")


def newcomer(clone: Path) -> dict[str, str]:
    """The shell of a person who has no environment but the clone's."""
    ours = Path(sys.executable).parent
    folders = os.environ["PATH"].split(os.pathsep)
    elsewhere = [folder for folder in folders if Path(folder) != ours]
    of_make = dict.fromkeys(("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "ARGS", "PYTHONPATH"), "")
    return (
        user_environment()
        | of_make
        | {
            "PATH": os.pathsep.join([str(clone / ".venv" / "bin"), *elsewhere]),
            "PYTHON": f"{sys.base_prefix}/bin/python3",
            "MLFLOW_ENV_ROOT": str(clone.parent / "environments"),
            "CONDA_ENVS_DIRS": str(clone.parent / "conda"),
            "TRACKML_RUNS_DIR": str(clone / ".trackml" / "runs"),
        }
    )


@pytest.mark.examples
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("command", commands(*PAGES))
def test_readmes_commands_run_in_a_fresh_clone(command: str, clone: Path) -> None:
    """From top to bottom in one folder, so that later ones find the runs of those before."""
    if command == "make test":
        pytest.skip("it is what runs the other tests")  # CI runs it in a fresh clone
    shell = newcomer(clone)
    builds = command.startswith("mlflow run") and "--env-manager local" not in command
    needed = "pyenv" if builds else "conda" if command.startswith("conda") else "bash"
    if not shutil.which(needed):
        pytest.skip(f"{needed} is not installed here")  # a person chooses to have it
    if command in ("make ui", "trackml ui"):
        port = str(free_port())
        words = [*command.split(), *(["--port", port] if command == "trackml ui" else [])]
        with started(words, f"http://127.0.0.1:{port}/health", clone, MLFLOW_PORT=port, **shell):
            return
    command = command.replace("RUN_ID", run_of_mnist(clone))
    Image.new("L", (60, 80)).save(clone / "digits.png")
    done = subprocess.run(
        ["bash", "-ec", command], cwd=clone, env=shell, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def run_of_mnist(clone: Path) -> str:
    """The id of a run whose model may become champion."""
    found = runs(clone) if (clone / "mlflow.db").exists() else []
    scored = [run for run in found if "test_accuracy" in run.data.metrics]
    of_mnist = [run for run in scored if run.data.tags["trackml.task"] == "mnist"]
    return str(of_mnist[-1].info.run_id) if of_mnist else "none"
