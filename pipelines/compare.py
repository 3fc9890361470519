"""The leaderboard of a task: its finished runs in MLflow, by configuration, the best first.

mlflow run . -e compare
mlflow run . -e compare -P task=fashion_mnist -P min_runs=3
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trackml import params as base
from trackml.cli import command_line
from trackml.fields import TaskName

if TYPE_CHECKING:
    from trackml.evaluation.leaderboard import Leaderboard

MODELS: Mapping[str, tuple[str, str]] = {  # architecture → name, entry point that trains it
    "cnn": ("CNN", "cnn"),
    "faster-rcnn": ("Faster R-CNN", "detector"),
    "vgg16": ("VGG16", "transfer -P backbone=vgg16"),
    "alexnet": ("AlexNet", "transfer -P backbone=alexnet"),
}
"""Of MNIST's digits, whole or on canvases: these are also compared side by side."""


class Params(base.Params):
    """Parameters of `compare`."""

    task: TaskName = "mnist"
    metric: Literal["auto", "accuracy", "mae", "map", "loss"] = Field(
        "auto", description="score that ranks, on validation; auto is the task's own"
    )
    min_runs: int = Field(
        1, ge=1, description="runs that a configuration needs, each with another seed, to count"
    )


def main(params: Params, _hook: None = None) -> "Leaderboard":
    """Rank all configurations of a task by their finished runs in MLflow, of any framework."""
    # Loaded now, not on top: --help, and a mistake, must not wait for MLflow.
    from trackml.errors import TrackmlError
    from trackml.evaluation.leaderboard import CURVES, Leaderboard, report_leaderboard
    from trackml.evaluation.models import compare_models, report_comparison
    from trackml.leaderboard import left_out, main_score, on_the_same_rows, rank, scored
    from trackml.tracking import store
    from trackml.tracking.past import finished_runs, known_tasks, with_best_epoch
    from trackml.tracking.record import recorded
    from trackml.tracking.search import series

    client = store.connect()
    runs = finished_runs(client, params.task)
    score = main_score(runs) if params.metric == "auto" else params.metric
    chosen = on_the_same_rows(scored(runs, score))
    table = rank(chosen, score, params.min_runs)
    reasons = left_out(runs, chosen, score, params.min_runs)
    if table.empty:
        tasks = ", ".join(known_tasks(client)) or "none"
        why = "; ".join(reasons) or f"there are no finished runs of {params.task}"
        raise TrackmlError(f"nothing to compare: {why}; tasks that have runs: {tasks}")
    models = None
    if params.task == "mnist":
        canvases = finished_runs(client, "mnist_detector")
        models = compare_models(
            runs, canvases, MODELS, params.min_runs, lambda best: with_best_epoch(client, best)
        )
    board = Leaderboard(params.task, score, table, reasons, models)
    curves = {
        int(row["rank"]): series(client, row["run_id"], f"val_{score}")
        for _, row in table.head(CURVES).iterrows()
    }
    with recorded(params, experiment=params.task, name="compare") as run:
        run.log_report(report_leaderboard(board, curves))
        if models:
            run.log_report(report_comparison(models))
    return board


if __name__ == "__main__":
    from trackml.console import comparison

    command_line(main, Params, comparison)
