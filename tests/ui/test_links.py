"""Links to pages of MLflow's UI, and what is shown first there."""

import json
from pathlib import Path

import pytest

from tests.conftest import ROOT
from trackml import tasks
from trackml.metrics import ACCURACY, MAE, Metric
from trackml.ui import links
from trackml.ui.links import compare_link, ui_command, ui_link, view_of


@pytest.mark.parametrize(("metric", "first"), [(ACCURACY, "test_accuracy"), (MAE, "test_rmse")])
def test_a_view_shows_scores_first_the_best_on_top(metric: Metric, first: str) -> None:
    view = json.loads(view_of(metric))
    assert view["orderByAsc"] is not metric.higher_is_better
    assert view["selectedColumns"][0] == f"metrics.`{first}`"
    assert view["compareRunCharts"][0]["metricKey"] == first


def test_links_open_runs_charts_and_models_and_no_page_for_llms() -> None:
    own = ui_link("http://host:5000/", experiment="1", run="a")
    assert own == "http://host:5000/#/experiments/1/runs/a?workflowType=machine_learning"
    assert "compareRunsMode=CHART" in ui_link("http://host:5000", experiment="1", charts=True)
    assert "/#/models/my%20task?" in ui_link("http://host:5000", model="my task")


def test_a_link_compares_runs_on_a_server_and_in_a_description_there() -> None:
    page = "#/compare-runs?runs=%5B%22a%22%2C%22b%22%5D&experiments=%5B%221%22%2C%222%22%5D&"
    runs = {"a": "2", "b": "1"}
    assert compare_link("http://host:5000/", runs).startswith(f"http://host:5000/{page}")
    assert compare_link("", runs).startswith(page)


@pytest.mark.parametrize(
    ("folder", "is_installed", "path", "command"),
    [
        (ROOT, False, "", "make ui"),
        (ROOT / "src", False, "", "python -m trackml ui"),
        (ROOT / "src", False, "bin", "trackml ui"),
        (ROOT, True, "", "trackml ui"),
    ],
)
def test_the_shortest_command_is_named_that_works_here(
    folder: Path,
    is_installed: bool,
    path: str,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/trackml").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / path))
    for module in (links, tasks):
        monkeypatch.setattr(module, "IS_INSTALLED", is_installed)
    monkeypatch.chdir(folder)
    assert ui_command() == command
    named = f"MLFLOW_TRACKING_URI='sqlite:////a b/x.db' {command}"
    assert ui_command("sqlite:////a b/x.db") == named
