"""Links to pages of MLflow's UI, and what is shown first there."""

import json

import pytest

from trackml.metrics import ACCURACY, MAE, Metric
from trackml.ui.links import ui_link, view_of


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
