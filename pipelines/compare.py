"""The leaderboard of a task: its finished runs in MLflow, by configuration, the best first.

mlflow run . -e compare
mlflow run . -e compare -P task=fashion_mnist -P min_runs=3
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from trackml import params as base
from trackml.cli import command_line
from trackml.console import LEADERBOARD
from trackml.params import Accepts, TaskName, matching
from trackml.progress import progress_of
from trackml.tasks import run_command

if TYPE_CHECKING:
    from trackml.evaluation.report import Table

VIEW = LEADERBOARD  # what a person sees of it
MODELS: Mapping[str, tuple[str, str]] = {  # architecture → name, command that trains it
    "cnn": ("CNN", run_command("cnn", {})),
    "faster-rcnn": ("Faster R-CNN", run_command("detector", {})),
    "vgg16": ("VGG16", run_command("transfer", {"backbone": "vgg16"})),
    "alexnet": ("AlexNet", run_command("transfer", {"backbone": "alexnet"})),
}
"""For MNIST, digits alone or on canvases: these are also shown side by side."""


MetricName = Accepts("auto or the name of a metric", matching(r"[A-Za-z]\w*"))


class Params(base.Params):
    """Parameters of `compare`."""

    task: TaskName = "mnist"
    metric: Annotated[str, MetricName] = Field(
        "auto",
        description="score that ranks, on validation: accuracy, mae, map, loss, or the own metric "
        "of runs; auto is the task's own",
    )
    min_runs: int = Field(
        1, ge=1, description="runs that a configuration needs, each with another seed, to count"
    )


def main(params: Params, callbacks: Iterable[object] = ()) -> "list[Table]":
    """Rank all configurations of a task by their finished runs in MLflow, of any framework."""
    progress = progress_of(callbacks)
    progress.stage(f"reading the finished runs of {params.task}")

    # Imported here: --help, and a mistake, must not wait for MLflow.
    from trackml.comparison.leaderboard import MAX_CURVES, rank_task, report_leaderboard
    from trackml.comparison.runs import run_table
    from trackml.comparison.side_by_side import compare_models, report_models, with_best_epoch
    from trackml.tracking import server
    from trackml.tracking.address import ui_server
    from trackml.tracking.queries import finished_runs, tasks_with_runs, values_by_epoch
    from trackml.tracking.run import log_reports
    from trackml.ui.links import compare_link

    client = server.connect(create=False)
    finished = finished_runs(client, params.task)
    runs, experiments = run_table(finished), {run.run_id: run.experiment_id for run in finished}
    others = partial(tasks_with_runs, client)
    board, metric = rank_task(params.task, runs, others, params.metric, params.min_runs)
    best = dict(islice(zip(board.data["rank"], board.data["run_id"], strict=True), MAX_CURVES))
    curves = {
        rank: curve
        for rank, run_id in best.items()
        if any(curve := values_by_epoch(client, run_id, f"val_{metric}"))  # any epoch but 0
    }
    report, tables = report_leaderboard(board, metric, curves), [board]
    if params.task == "mnist":
        both = [runs, run_table(finished_runs(client, "mnist_detector"))]
        best_epochs = partial(with_best_epoch, partial(values_by_epoch, client))
        models = compare_models(both, MODELS, params.min_runs, best_epochs)
        if models:
            report, tables = report | report_models(models), [board, models]
    shown = {run_id: experiments[run_id] for run_id in best.values()}
    note = f"[The best, side by side]({compare_link('', shown)})"
    log_reports(
        params, [report], experiment=params.task, name="compare", note=note, progress=progress
    )
    ui = ui_server()
    link = compare_link(ui, shown) if ui else "a link in the description of the run `compare`"
    tables[0] = replace(board, notes=[*board.notes, f"the best, side by side: {link}"])
    return tables


if __name__ == "__main__":
    command_line(main, Params, VIEW)
