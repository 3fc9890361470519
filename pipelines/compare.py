"""The leaderboard of a task: its finished runs in MLflow, by configuration, the best first.

mlflow run . -e compare
mlflow run . -e compare -P task=fashion_mnist -P min_runs=3
"""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trackml import params as base
from trackml.cli import command_line
from trackml.params import TaskName

if TYPE_CHECKING:
    from trackml.evaluation.report import Table

MODELS: Mapping[str, tuple[str, str]] = {  # architecture → name, entry point that trains it
    "cnn": ("CNN", "cnn"),
    "faster-rcnn": ("Faster R-CNN", "detector"),
    "vgg16": ("VGG16", "transfer -P backbone=vgg16"),
    "alexnet": ("AlexNet", "transfer -P backbone=alexnet"),
}
"""For MNIST, digits alone or on canvases: these are also shown side by side."""


class Params(base.Params):
    """Parameters of `compare`."""

    task: TaskName = "mnist"
    metric: Literal["auto", "accuracy", "mae", "map", "loss"] = Field(
        "auto", description="score that ranks, on validation; auto is the task's own"
    )
    min_runs: int = Field(
        1, ge=1, description="runs that a configuration needs, each with another seed, to count"
    )


def main(params: Params, _callbacks: object = ()) -> "list[Table]":
    """Rank all configurations of a task by their finished runs in MLflow, of any framework."""
    # Imported here: --help, and a mistake, must not wait for MLflow.
    from trackml.comparison.leaderboard import MAX_CURVES, leaderboard, report_leaderboard
    from trackml.comparison.runs import run_table
    from trackml.comparison.side_by_side import compare_models, report_models, with_best_epoch
    from trackml.comparison.statistics import main_metric
    from trackml.errors import TrackmlError
    from trackml.metrics import METRICS
    from trackml.tracking import server
    from trackml.tracking.queries import finished_runs, tasks_with_runs, values_by_epoch
    from trackml.tracking.run import log_reports

    client = server.connect()
    runs = run_table(finished_runs(client, params.task))
    metric = METRICS.get(params.metric) or main_metric(runs)
    board = leaderboard(params.task, runs, metric, params.min_runs)
    if board.data.empty:
        tasks = ", ".join(tasks_with_runs(client)) or "none"
        why = "; ".join(board.notes) or f"there are no finished runs of {params.task}"
        raise TrackmlError(f"nothing to compare: {why}; tasks that have runs: {tasks}")
    best = zip(board.data["rank"], board.data["run_id"], strict=True)
    curves = {
        rank: curve
        for rank, run_id in list(best)[:MAX_CURVES]
        if any(curve := values_by_epoch(client, run_id, f"val_{metric}"))  # any epoch but 0
    }
    report, tables = report_leaderboard(board, metric, curves), [board]
    if params.task == "mnist":
        both = [runs, run_table(finished_runs(client, "mnist_detector"))]
        best_epochs = partial(with_best_epoch, partial(values_by_epoch, client))
        models = compare_models(both, MODELS, params.min_runs, best_epochs)
        if models:
            report, tables = report | report_models(models), [board, models]
    log_reports(params, [report], experiment=params.task, name="compare")
    return tables


if __name__ == "__main__":
    from trackml.console import LEADERBOARD

    command_line(main, Params, LEADERBOARD)
