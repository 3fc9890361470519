"""What may import what, and what must not be loaded."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ROOT / "src" / "trackml"
WITHOUT_MLFLOW = ("data", "models", "training", "evaluation")


def imported(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize(
    "file", [f for package in WITHOUT_MLFLOW for f in (PACKAGES / package).rglob("*.py")], ids=str
)
def test_only_tracking_talks_to_mlflow(file: Path) -> None:
    forbidden = {name for name in imported(file) if name.startswith(("mlflow", "trackml.tracking"))}
    assert not forbidden


FRAMEWORKS = {"tensorflow", "keras", "torch", "ray", "mlflow", "sklearn", "seaborn"}
PIPELINES = [f"pipelines.{file.stem}" for file in (ROOT / "pipelines").glob("[!_]*.py")]


@pytest.mark.parametrize("module", ["trackml", "trackml.cli", "trackml.data", *PIPELINES])
def test_no_framework_is_loaded_before_a_run(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in result.stdout.split()}
    assert not loaded & FRAMEWORKS
