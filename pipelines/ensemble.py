"""The mean of a few trained models of one task, as one registered model.

mlflow run . -e ensemble -P task=california_housing -P members=@dense,@boosted-trees

For members of a task of your own, `main` takes the data that they were trained on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trackml import params as base
from trackml.cli import command_line
from trackml.data import load
from trackml.frameworks import ensemble as tk
from trackml.metrics import ACCURACY, MAE
from trackml.tasks import Task

if TYPE_CHECKING:
    from trackml.data import ImageData, TableData


class Params(base.RunParams):
    """Parameters of `ensemble`."""

    task: base.TaskName = "mnist"
    members: str = Field(
        "none",
        description="two trained models or more, with commas between: registered versions such as "
        "3 or mnist/3, aliases such as @dense, or ids of finished runs",
    )
    weights: Literal["validation", "equal"] = Field(
        "validation", description="chosen for the lowest loss on validation data, or all the same"
    )


def main(
    params: Params, callbacks: tk.Callbacks = (), data: ImageData | TableData | None = None
) -> tk.Result:
    """Average trained models of a task, whatever their frameworks, into one registered model."""
    # Members that do not fit each other are refused before a run is made.
    members = tk.find_members(params.task, params.members)
    params = params.model_copy(update={"members": members.addresses})
    if data is None:
        data = load(params.task, members.validation_split)
    members.check_data(data)
    metric = ACCURACY if data.classes else MAE
    evaluate = tk.evaluate_classifier if data.classes else tk.evaluate_regressor
    task = Task(lambda _params: data, framework="ensemble", metric=metric)
    with tk.tracked_run(task, params, data, "ensemble", callbacks) as run:
        run.log_params(members.params)
        run.log_tags(members.tags)
        run.progress.stage("loading the members")
        with tk.loaded(members) as models:
            ensemble, history = tk.fit(models, data, params.weights, members.metric, run=run)
            run.log_architecture(*tk.describe(ensemble))
            evaluate = tk.with_weights(evaluate, ensemble)
            return run.finish(ensemble, history, evaluate, tk.predictor(ensemble, data))


if __name__ == "__main__":
    command_line(main, Params)
