"""MLflow's UI as a person sees it, in a browser without a screen.

    python -m tests.pipelines.ui docs/images [TASK [PAGE ...]]

photographs those pages, else each, of the store in the current folder, or of 30 small runs where
there is none.
"""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from mlflow.tracking import MlflowClient

import trackml
from tests.conftest import read
from tests.pipelines.servers import as_program, free_port, started
from trackml.ui.links import ui_link

if TYPE_CHECKING:
    from playwright.sync_api import Page

# What a person has who has closed the assistant once, and nothing else: our links do the rest.
SETTLED = """
localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');
localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');
"""
CHART = ".js-plotly-plot"  # of Plotly's
LINE = f"{CHART} .scatterlayer .trace:has(.point)"


@dataclass(frozen=True)
class View:
    """A browser before MLflow's UI."""

    page: "Page"
    address: str

    def open(self, path: str) -> None:
        """Open a page as our links do: `ui_link` adds the same."""
        if "workflowType" not in path:
            path += f"{'&' if '?' in path else '?'}workflowType=machine_learning"
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


def make_runs() -> None:
    """30 small runs of three datasets and several frameworks, and a sweep, in ./mlflow.db."""
    small: dict[str, Any] = {"quiet": True, "limit": 500}
    for seed, epochs in product((0, 1), (2, 4, 6)):
        trackml.run("scratch_mnist", epochs=epochs, seed=seed, **small)
        trackml.run("scratch_mnist", epochs=epochs, hidden_units="32", seed=seed, **small)
    for seed, entry in product((0, 1, 2), ("mnist_sklearn", "housing_trees")):
        trackml.run(entry, seed=seed, **small)
    for seed, epochs in product((0, 1), (2, 4)):
        trackml.run("dense_mnist", epochs=epochs, seed=seed, **small)
        trackml.run("housing", epochs=10 * epochs, seed=seed, **small)
    space: dict[str, Any] = {"space": "hidden_units=16|32", "epochs": 2, "concurrency": "1"}
    trackml.run("sweep", **space, **small)
    for entry in ("fashion", "fashion_aug"):
        trackml.run(entry, epochs=3, **small)


def pages(client: MlflowClient, task: str) -> dict[str, str]:
    """The pages that a person opens, by the names of their pictures: paths behind the #."""
    experiment = client.get_experiment_by_name(task)
    if not experiment:
        raise SystemExit(f"the store has no experiment {task!r}")
    of: dict[str, Any] = {"experiment": experiment.experiment_id}
    best = f"metrics.test_{'rmse' if task == 'california_housing' else 'accuracy'} DESC"
    found = client.search_runs(
        [experiment.experiment_id], "metrics.best_epoch > 0", order_by=[best], max_results=1
    )
    run = found[0].info.run_id
    outputs = found[0].outputs.model_outputs if found[0].outputs else []
    links = {
        "experiments": ui_link(""),
        "runs": ui_link("", **of),
        "curves": ui_link("", **of, charts=True),
        "run": ui_link("", **of, run=run),
        "run_curves": ui_link("", **of, run=run, charts=True),
        "registry": ui_link("", model=task),
        "versions": ui_link("", model=task).replace("?", "/versions/1?"),
    }
    for output in outputs[:1]:
        models = ui_link("", **of).partition("/runs")[0]
        links["model"] = f"{models}/models/{output.model_id}?workflowType=machine_learning"
    return {name: link.partition("#/")[2] for name, link in links.items()}


def photograph(folder: Path, target: Path, task: str = "mnist", *names: str) -> None:
    """The named pages of the UI, else each, of a folder's store; without one, of 30 small runs."""
    with TemporaryDirectory() as temporary:
        if not (folder / "mlflow.db").exists():
            folder = Path(temporary)
            with contextlib.chdir(folder):
                make_runs()
        target.mkdir(parents=True, exist_ok=True)
        wanted = pages(read(folder), task)
        with view(folder) as shown:
            shown.page.set_viewport_size({"width": 1280, "height": 760})
            for name in names or wanted:
                shown.open(wanted[name])
                shown.page.wait_for_timeout(5_000)  # it asks the server for ever, and is never idle
                shown.page.screenshot(path=target / f"ui_{name}.png")


if __name__ == "__main__":
    as_program(partial(photograph, Path.cwd(), Path(sys.argv[1]).absolute(), *sys.argv[2:]))
