"""What may import what, how many rooms there are, and what must not be loaded."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

SOURCES = ROOT / "src"
FILES = sorted((SOURCES / "trackml").rglob("*.py"))
WITHOUT_MLFLOW = ("data", "models", "training", "evaluation", "comparison", "ui")
HEAVY = {
    *("tensorflow", "keras", "torch", "mlflow", "ray", "optuna"),
    *("sklearn", "seaborn", "matplotlib", "pandas"),
}


def module(file: Path) -> str:
    return ".".join(file.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(file): file for file in FILES}


def imports(nodes: list[ast.stmt], *, everywhere: bool) -> Iterator[str]:
    """The modules, and names in modules, that statements import.

    Args:
        everywhere: in functions, and for type checkers, too.
    """
    for node in nodes:
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(module=str(source)):
                yield from (f"{source}.{alias.name}" for alias in node.names)
            case ast.FunctionDef() if not everywhere:
                pass
            case ast.If(test=ast.Name(id="TYPE_CHECKING")) if not everywhere:
                yield from imports(node.orelse, everywhere=everywhere)
            case _:
                children = [each for each in ast.walk(node) if isinstance(each, ast.stmt)]
                yield from imports(children[1:], everywhere=everywhere)


def imported(file: Path, *, everywhere: bool = True) -> set[str]:
    return set(imports(ast.parse(file.read_text()).body, everywhere=everywhere))


@pytest.mark.parametrize(
    ("packages", "forbidden"),
    [
        (WITHOUT_MLFLOW, ("mlflow", "trackml.tracking", "trackml.model_files")),
        (("checks", "model_files"), ("trackml.tracking",)),
    ],
)
def test_these_rooms_do_without_mlflow_or_its_store(
    packages: tuple[str, ...], forbidden: tuple[str, ...]
) -> None:
    for package in packages:
        files = list((SOURCES / "trackml" / package).rglob("*.py"))
        assert files
        for file in files:
            assert not {name for name in imported(file) if name.startswith(forbidden)}, file


def test_imports_go_in_no_circle() -> None:
    graph = {}
    for name, file in MODULES.items():
        targets = imported(file, everywhere=False)
        graph[name] = {
            each if each in MODULES else each.rpartition(".")[0] for each in targets
        } & MODULES.keys()
    assert "trackml.tracking.outbox" in graph["trackml.tracking.uploader"]
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize(("room", "files"), [("*.py", 11), ("tracking/**/*.py", 18)])
def test_a_room_stays_small(room: str, files: int) -> None:
    assert 0 < len(list((SOURCES / "trackml").glob(room))) <= files


def test_a_run_is_passed_not_found_by_the_way() -> None:
    assert [file for file in FILES if "ContextVar" in file.read_text()] == []


PIPELINES = [f"pipelines.{file.stem}" for file in (ROOT / "pipelines").glob("[!_]*.py")]
HELP = """
import contextlib, gc, io, json, runpy, sys
seen, loaded = set(), {}
def note(step):
    loaded[step] = sorted({*sys.modules} - seen)
    seen.update(sys.modules)
for module in ["trackml", "trackml.cli", "trackml.data"]:
    __import__(module)
    note(module)
for module in sys.argv[1:]:
    sys.argv = [module, "--help"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    note(module)
from trackml.frameworks import numpy
from trackml.process.garbage import collect_rarely
note("its name")
collect_rarely()
numpy.fit
assert gc.get_freeze_count() > 100_000, "no collection is to visit what was imported"
note("its use")
print(json.dumps(loaded))
"""


def test_help_waits_for_no_framework_and_a_facade_is_loaded_when_it_is_used() -> None:
    result = subprocess.run(
        [sys.executable, "-c", HELP, *PIPELINES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {
        step: HEAVY & {name.partition(".")[0] for name in names}
        for step, names in json.loads(result.stdout).items()
    }
    assert "mlflow" in loaded.pop("its use")
    assert loaded.keys() > {*PIPELINES}
    assert {step: names for step, names in loaded.items() if names} == {}


@pytest.mark.parametrize(
    ("pipeline", "own"), [("cnn", {"torch"}), ("fashion", {"keras", "tensorflow"})]
)
def test_a_pipeline_loads_no_framework_but_its_own(pipeline: str, own: set[str]) -> None:
    code = f"import sys; from pipelines.{pipeline} import tk; tk.fit; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in result.stdout.split()}
    assert loaded & {"keras", "tensorflow", "torch", "ray", "torchmetrics"} == own
