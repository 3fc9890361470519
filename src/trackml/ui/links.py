"""How a person gets to MLflow's UI: commands and links, and what is shown first there."""

import json
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from trackml.metrics import Metric
from trackml.tasks import IS_INSTALLED, is_in_checkout

VIEW = "trackml"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"  # of an experiment: what the UI's button Share writes
MAIN_SCORES = {"mae": ("rmse", "mae")}  # of the test data, beside the metric that ranks
_TRAINING = "workflowType=machine_learning"  # without it, a new browser opens a page about LLMs
_SECTIONS = {
    "trackml-scores": "Scores",
    "trackml-more": "Model metrics",
    "trackml-system": "System metrics",
}


def ui_link(
    server: str,
    *,
    experiment: str = "",
    run: str = "",
    model: str = "",
    charts: bool = False,
    short: bool = False,
) -> str:
    """The link to a page of MLflow's UI: of a run, of an experiment, of a registered model.

    >>> ui_link("http://127.0.0.1:5000", experiment="1")
    'http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=trackml'

    Args:
        server: where the UI is, such as http://127.0.0.1:5000; without a password.
        experiment: the id of an experiment; without a run, its runs open, or their charts.
        run: the id of a run in it.
        model: the name of a registered model.
        charts: of the runs of the experiment, or of the run.
        short: of an experiment, without our view, so that a line of 80 characters holds it. MLflow
            adds what is missing.
    """
    start = f"{server.rstrip('/')}/#"
    if model:
        return f"{start}/models/{quote(model, safe='')}?{_TRAINING}"
    if not experiment:
        return f"{start}/experiments?{_TRAINING}"
    if short:
        return f"{start}/experiments/{experiment}?{_TRAINING}"
    runs = f"{start}/experiments/{experiment}/runs"
    if run:
        return f"{runs}/{run}{'/model-metrics' if charts else ''}?{_TRAINING}"
    mode = "&compareRunsMode=CHART" if charts else ""
    return f"{runs}?{_TRAINING}{mode}&viewStateShareKey={VIEW}"


def compare_link(server: str, runs: Mapping[str, str]) -> str:
    """The link to the page with runs side by side; without a server, for a description there.

    >>> compare_link("", {"a": "1", "b": "1"})
    '#/compare-runs?runs=%5B%22a%22%2C%22b%22%5D&experiments=%5B%221%22%5D&workflowType=machine_learning'

    Args:
        runs: id → the id of its experiment.
    """
    ids, experiments = (
        quote(json.dumps(each, separators=(",", ":")))
        for each in (list(runs), sorted(set(runs.values())))
    )
    page = f"#/compare-runs?runs={ids}&experiments={experiments}&{_TRAINING}"
    return f"{server.rstrip('/')}/{page}" if server else page


def ui_command(store: str = "") -> str:
    """The shortest command that serves the UI here; it prints the link to the newest runs.

    Args:
        store: its address, unless the command finds it: in MLFLOW_TRACKING_URI, or ./mlflow.db.
    """
    if is_in_checkout():
        command = "make ui"
    elif IS_INSTALLED or shutil.which("trackml"):
        command = "trackml ui"
    elif "MLFLOW_RUN_ID" in os.environ:  # of `mlflow run`, whose environment is not the user's
        return f"mlflow ui --backend-store-uri {shlex.quote(store)}" if store else "mlflow ui"
    else:
        command = "python -m trackml ui"
    return f"MLFLOW_TRACKING_URI={shlex.quote(store)} {command}" if store else command


def view_of(metric: Metric, params: Sequence[str] = ("epochs", "limit", "seed")) -> str:
    """The value of VIEW_TAG: runs by their validation score, the charts of scores before others.

    MLflow shows neither scores nor parameters unless a view names them, and sorts charts by name.
    The UI fills in what is missing here, and adds charts of all other metrics.

    Args:
        metric: by which the runs are ranked.
        params: shown beside the scores.
    """
    tests = [f"test_{name}" for name in MAIN_SCORES.get(str(metric), (str(metric),))]
    best = f"best_val_{metric}"
    curves = dict.fromkeys([f"val_{metric}", f"train_{metric}", "val_loss", "train_loss"])
    # Faster R-CNN has no train_map; the UI hides charts without values.
    kinds = {**dict.fromkeys([*tests, best], "BAR"), **dict.fromkeys(curves, "LINE")}
    scores, *_ = _SECTIONS
    charts = [
        {
            "type": kind,
            "uuid": f"{VIEW}-{name}",
            "metricSectionId": scores,
            "metricKey": name,
            "displayName": name,
            "isGenerated": True,
            "deleted": False,
            **({"selectedMetricKeys": [name]} if kind == "LINE" else {}),
            "lineSmoothness": 0,
            "runsCountToCompare": 10,
        }
        for name, kind in kinds.items()
    ]
    sections = [
        {"uuid": uuid, "name": name, "display": True, "deleted": False}
        | {"isReordered": uuid == scores, "isGenerated": True}
        for uuid, name in _SECTIONS.items()
    ]
    return json.dumps(
        {
            "orderByKey": f"metrics.`{best}`",
            "orderByAsc": not metric.higher_is_better,
            "selectedColumns": [
                *(f"metrics.`{name}`" for name in [*tests, best]),
                *(f"params.`{name}`" for name in params),
            ],
            "compareRunCharts": charts,
            "compareRunSections": sections,
            "isAccordionReordered": True,
        }
    )
