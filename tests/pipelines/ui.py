"""MLflow's UI as a person sees it, in a browser without a screen.

    python -m tests.pipelines.ui docs/images

photographs two pages of the store in the current folder, for README.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from tests.conftest import runs
from tests.pipelines.servers import as_program, free_port, started

if TYPE_CHECKING:
    from playwright.sync_api import Page

# What a person has who has chosen "Model training" once, and closed the assistant.
SETTLED = """
localStorage.setItem('mlflow.workflowType_v1', JSON.stringify('machine_learning'));
localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');
localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');
"""
CHART = ".js-plotly-plot"  # of Plotly's
LINE = f"{CHART} .scatterlayer .trace:has(.point)"
CURVES = "^(train|val)_(loss|accuracy)$|^test_(accuracy|f1_class_6)$"


@dataclass(frozen=True)
class View:
    """A browser before MLflow's UI."""

    page: "Page"
    address: str

    def open(self, path: str) -> None:
        self.page.goto(f"{self.address}/#/{path}")

    def open_charts(self, path: str, metrics: str, charts: int, lines: int) -> None:
        """Open a page, and wait for the charts of some metrics, with so many lines together."""
        self.open(path)
        self.page.get_by_placeholder("Search metric charts").fill(metrics)
        drawn = f"""([charts, lines]) => document.querySelectorAll("{CHART}").length == charts
            && document.querySelectorAll("{LINE}").length == lines"""
        self.page.wait_for_function(drawn, arg=[charts, lines])
        self.page.wait_for_timeout(1_000)
        self.page.wait_for_function(drawn, arg=[charts, lines])  # they stay

    def open_model(self, name: str) -> None:
        """Open the versions of a registered model."""
        self.open(f"models/{name}")
        self.page.get_by_text("champion").first.wait_for()


@contextmanager
def view(folder: Path) -> Iterator[View]:
    """`mlflow ui` on a folder's store, in the system's Chromium; skips a test without Chromium."""
    pytest.importorskip("playwright", reason="playwright is not installed here")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        pytest.skip("Chromium is not installed here")  # no Python package: a person installs it
    from playwright.sync_api import sync_playwright

    address = f"http://127.0.0.1:{(port := free_port())}"
    store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--port", str(port)]
    command = [sys.executable, "-m", "mlflow", "ui", *store, "--workers", "1"]
    with (
        TemporaryDirectory() as elsewhere,
        started(command, f"{address}/health", Path(elsewhere)),
        sync_playwright() as playwright,
    ):
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        context = chromium.new_context(viewport={"width": 1280, "height": 1060})
        context.add_init_script(SETTLED)
        page = context.new_page()
        page.set_default_timeout(60_000)
        yield View(page, address)
        chromium.close()


def photograph(folder: Path, target: Path) -> None:
    """Two pages of the runs of `fashion` and `fashion_aug`."""
    found = runs(folder) if (folder / "mlflow.db").exists() else []
    names = sorted(run.info.run_name or "" for run in found)
    if names != ["cnn", "cnn-aug"]:
        raise SystemExit(
            f"{folder}/mlflow.db has the runs {names}, not one of fashion and one of fashion_aug; "
            "start both directly, in an empty folder: python -m pipelines.fashion, and the same "
            "with --augment true"
        )
    charts = f"experiments/{found[0].info.experiment_id}/runs?compareRunsMode=CHART"
    with view(folder) as shown:
        shown.open_charts(charts, CURVES, charts=6, lines=8)
        shown.page.screenshot(path=target / "ui_curves.png")
        shown.open_model("fashion_mnist")
        shown.page.set_viewport_size({"width": 1280, "height": 720})
        shown.page.screenshot(path=target / "ui_registry.png")


if __name__ == "__main__":
    as_program(partial(photograph, Path.cwd(), Path(sys.argv[1]).absolute()))
