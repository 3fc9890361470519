"""MLflow's UI as a person sees it, in a browser without a screen.

    python -m tests.pipelines.ui docs/images

photographs two pages of the store in the current folder, for README.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import quote

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


@contextmanager
def ui(folder: Path) -> Iterator[str]:
    """The address of `mlflow ui` on the store of a folder."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--port", str(port)]
    command = [sys.executable, "-m", "mlflow", "ui", *store, "--workers", "1"]
    with (
        TemporaryDirectory() as elsewhere,
        started(command, f"{address}/health", Path(elsewhere)),
    ):
        yield address


@contextmanager
def browser() -> Iterator["Page"]:
    """A page of the system's Chromium; the test is skipped where there is none."""
    pytest.importorskip("playwright", reason="playwright is not installed here")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        pytest.skip("Chromium is not installed here")  # no Python package: a person installs it
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        context = chromium.new_context(viewport={"width": 1280, "height": 1060})
        context.add_init_script(SETTLED)
        page = context.new_page()
        page.set_default_timeout(60_000)
        yield page
        chromium.close()


def show_experiments(page: "Page", address: str) -> None:
    page.goto(f"{address}/#/experiments")
    page.get_by_role("link", name="fashion_mnist").first.wait_for()


def show_runs(page: "Page", address: str, experiment: str) -> None:
    page.goto(f"{address}/#/experiments/{experiment}/runs")
    page.get_by_text("matching run").wait_for()


def show_charts(
    page: "Page", address: str, experiment: str, metrics: str, charts: int, lines: int
) -> None:
    """The curves of all runs of an experiment, those of some metrics."""
    page.goto(f"{address}/#/experiments/{experiment}/runs?compareRunsMode=CHART")
    _choose_charts(page, metrics, charts, lines)


def show_metrics(
    page: "Page", address: str, experiment: str, run_id: str, metrics: str, charts: int, lines: int
) -> None:
    """The curves of one run, those of some metrics."""
    page.goto(f"{address}/#/experiments/{experiment}/runs/{run_id}/model-metrics")
    _choose_charts(page, metrics, charts, lines)


def show_artifact(page: "Page", address: str, experiment: str, run_id: str, path: str) -> None:
    page.goto(f"{address}/#/experiments/{experiment}/runs/{run_id}/artifacts/{path}")
    page.locator("img").first.wait_for()
    page.wait_for_function("[...document.images].some(image => image.naturalWidth > 300)")


def show_comparison(page: "Page", address: str, experiment: str, run_ids: list[str]) -> None:
    """The page that opens for ticked runs behind the button Compare."""
    query = f"runs={quote(json.dumps(run_ids))}&experiments={quote(json.dumps([experiment]))}"
    page.goto(f"{address}/#/compare-runs?{query}")
    page.get_by_text(f"Comparing {len(run_ids)} Runs").wait_for()
    page.locator(f"{CHART} .main-svg").first.wait_for()


def show_model(page: "Page", address: str, name: str) -> None:
    """The versions of a registered model."""
    page.goto(f"{address}/#/models/{name}")
    page.get_by_text("champion").first.wait_for()


def _choose_charts(page: "Page", metrics: str, charts: int, lines: int) -> None:
    """Wait until so many charts with so many lines are there, and stay."""
    page.get_by_placeholder("Search metric charts").fill(metrics)
    drawn = f"""([charts, lines]) => document.querySelectorAll("{CHART}").length == charts
        && document.querySelectorAll("{LINE}").length == lines"""
    page.wait_for_function(drawn, arg=[charts, lines])
    page.wait_for_timeout(1_000)
    page.wait_for_function(drawn, arg=[charts, lines])


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
    experiment = found[0].info.experiment_id
    with ui(folder) as address, browser() as page:
        show_charts(page, address, experiment, CURVES, charts=6, lines=8)
        page.screenshot(path=target / "ui_curves.png")
        show_model(page, address, "fashion_mnist")
        page.set_viewport_size({"width": 1280, "height": 720})
        page.screenshot(path=target / "ui_registry.png")


if __name__ == "__main__":
    as_program(partial(photograph, Path.cwd(), Path(sys.argv[1]).absolute()))
