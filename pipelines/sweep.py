"""The parameters of any pipeline, searched: each trial is a run, and the best is scored at the end.

mlflow run . -e sweep -P epochs=2 -P limit=10000      # 52 s on 2 cores: a grid of 16
"""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from trackml.cli import command_line
from trackml.console import SWEEP
from trackml.errors import UsageError
from trackml.params import (
    Accepts,
    Concurrency,
    DeviceName,
    Limit,
    RayAddress,
    RunParams,
    Seed,
)
from trackml.progress import progress_of
from trackml.sweeps import DEFAULT_TRIALS, MAX_TRIALS
from trackml.tasks import EntryPoint, Task, entry_point, find_entry_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trackml.sweeps.plan import Plan
    from trackml.sweeps.runner import SweepResult
    from trackml.sweeps.tuner import TrialCallback

PIPELINES = {n: each for n, each in find_entry_points().items() if each.task and n != "main"}
SPACES = Path(__file__).parent / "spaces"
VIEW = SWEEP  # what a person sees of it


def _name_or_path(text: str) -> str:
    """An entry point's name as it is, the path of a file absolute; ValueError for any other."""
    if text in PIPELINES:
        return text
    if not text.endswith(".py"):
        raise ValueError(text)
    return str(Path(text).absolute())


PipelineName = Annotated[
    str,
    Accepts(f"{' or '.join(PIPELINES)}, or the path of a pipeline's file", _name_or_path),
    Field(description="whose parameters are searched"),
]


class Params(RunParams):
    """Parameters of `sweep`; `fixed`, `epochs`, `limit` and `seed` go to each trial."""

    pipeline: PipelineName = "dense_mnist"
    space: str = Field(
        "dense_grid.yaml",
        description="what is searched: a file of pipelines/spaces or the path of another one, or "
        "a text such as `hidden_units=128|256, dropout=0.1..0.5, learning_rate=1e-4..1e-2 log`",
    )
    fixed: str = Field(
        "none", description="other parameters of all trials, such as `batch_size=64`, or none"
    )
    search: Literal["grid", "random", "tpe"] = Field(
        "grid", description="all points, random ones, or those that follow from earlier trials"
    )
    trials: int = Field(
        0,
        ge=0,
        le=MAX_TRIALS,
        description=f"how many, at most all there are; 0 = the whole grid, else {DEFAULT_TRIALS}",
    )
    epochs: int = Field(0, ge=0, description="passes of each trial; 0 = the pipeline's own number")
    limit: Limit = 0
    seed: Seed = 0
    prune: bool = Field(False, description="give up trials that lag behind others (ASHA)")
    repeat_best: int = Field(
        0, ge=0, le=1000, description="further seeds with which the best trial is run again"
    )
    concurrency: Concurrency = "auto"
    ray_address: RayAddress = "local"

    def as_text(self) -> dict[str, str]:
        """Also what the space holds: it may be in a file, which may change."""
        from trackml.sweeps.space import as_text

        return super().as_text() | {"searched": as_text(self.plan.space)}

    @cached_property
    def entry(self) -> EntryPoint:
        """The pipeline whose parameters are searched."""
        return PIPELINES.get(self.pipeline) or entry_point(self.pipeline)

    @property
    def task(self) -> Task[Any]:
        """What the trials have in common."""
        if not self.entry.task:
            raise UsageError(f"--pipeline {self.pipeline}: its file has no TASK, as a search needs")
        return self.entry.task

    @cached_property
    def plan(self) -> "Plan":
        """The trials, checked against the parameters of the pipeline."""
        from trackml.sweeps.plan import Plan  # not on top: it loads Optuna

        pipeline, task = self.entry, self.task
        shipped = {file.name: str(file) for file in SPACES.glob("*.yaml")}
        return Plan(
            entry_point=self.pipeline,
            params=pipeline.params,
            preset=pipeline.preset,
            metric=task.metric,
            searched=shipped.get(self.space, self.space),
            fixed=self.fixed,
            search=self.search,
            trials=self.trials,
            epochs=self.epochs,
            limit=self.limit,
            seed=self.seed,
            repeat_best=self.repeat_best,
        )


def main(params: Params, callbacks: "Sequence[TrialCallback]" = ()) -> "SweepResult":
    """Search the parameters of a pipeline, each trial a child of one run in MLflow."""
    pipeline, plan, task = params.entry, params.plan, params.task
    if params.prune and "epochs" not in pipeline.params.flags():
        raise UsageError(f"--prune: {params.pipeline} has no epochs after which to give it up")
    example = plan.parse(plan.points[0])  # what a trial would refuse is refused here
    data = task.load(example)
    # Keras takes a GPU unasked.
    default: DeviceName = "cpu" if task.framework in ("sklearn", "numpy") else "auto"
    device: DeviceName = getattr(example, "device", default)

    # Loaded now, not on top: --help, and a mistake, must not wait for Ray.
    from trackml.sweeps.report import best_point, report_sweep, sweep_curves, tabulate
    from trackml.sweeps.runner import Sweep, allotted
    from trackml.tracking.run import tracked_run

    with (
        allotted(
            params.ray_address, params.concurrency, len(plan), device, pipeline.main
        ) as allotment,
        tracked_run(task, params, data, "sweep", [progress_of(callbacks)]) as run,
    ):
        sweep = Sweep(run, pipeline.main, pipeline.params, allotment, callbacks)
        trials = plan if params.search == "tpe" else [plan.trial(point) for point in plan.points]
        failed = sweep.run_trials(trials, prune=params.prune, scores_test=False)
        tried = tabulate(run.child_table(curves=sweep_curves(plan)), plan)
        repeats = plan.repeats(best_point(tried, plan))
        failed += sweep.run_trials(repeats)
        scores = [f"best_val_{plan.metric}", f"test_{plan.metric}"]
        scored = run.child_table(params=["seed"], metrics=scores)
        is_repeat = scored["name"].isin([trial.name for trial in repeats])
        scored = scored[is_repeat & (scored["state"] == "finished")]
        return sweep.finish(report_sweep(plan, tried, scored, failed))


if __name__ == "__main__":
    command_line(main, Params, VIEW)
