"""The parameters of any pipeline, searched: each trial is a run, and the best is scored at the end.

mlflow run . -e sweep -P epochs=2 -P limit=10000      # 52 s on 2 cores: a grid of 16
"""

import math
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pipelines.searchable import PIPELINES
from trackml.cli import command_line
from trackml.errors import UsageError
from trackml.fields import Concurrency, DeviceName, Limit, RayAddress, Seed
from trackml.notation import read_space, read_values
from trackml.params import RunParams, TrainingParams
from trackml.space import Space, as_text, grid, name_of, sample, shown, size

if TYPE_CHECKING:
    from trackml.sweep import SweepResult
    from trackml.tuning import TrialHook

SPACES = Path(__file__).parent / "spaces"
USUAL_TRIALS, MOST_TRIALS = 20, 10_000
EXAMPLES = 100  # points of which at least one must be allowed
LONGEST_TEXT = 6_000  # characters: MLflow would shorten a parameter that is longer
_OTHER_DATA = "on other data scores do not compare"
NOT_SEARCHED = {
    "seed": "luck is no parameter; --repeat_best shows what it does",
    "register": "only the best model is registered",
    "resume": "it belongs to the sweep",
    "tracking": "it belongs to the sweep",
    "device": "it changes nothing but the time",
    **dict.fromkeys(["limit", "validation_split", "canvas_size", "digits"], _OTHER_DATA),
}
NOT_FIXED = {"seed", "register", "resume", "tracking", "limit"}  # flags of the sweep itself


class Params(RunParams):
    """Parameters of `sweep`; `fixed`, `epochs`, `limit` and `seed` go to each trial."""

    pipeline: Literal[
        "dense_mnist",
        "cnn",
        "transfer",
        "detector",
        "scratch_mnist",
        "housing",
        "fashion",
        "fashion_aug",
    ] = Field("dense_mnist", description="whose parameters are searched")
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
        le=MOST_TRIALS,
        description=f"how many, at most all there are; 0 = the whole grid, else {USUAL_TRIALS}",
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
        return super().as_text() | {"searched": as_text(self.searched)}

    @cached_property
    def common(self) -> dict[str, Any]:
        """The parameters of all trials by flag."""
        pipeline = PIPELINES[self.pipeline]
        given = read_values(self.fixed, "--fixed") if self.fixed != "none" else {}
        for name in given.keys() & (NOT_FIXED | pipeline.turned.keys()):
            raise UsageError(f"--fixed: {name} is not to be fixed; it is set by the sweep")
        if self.epochs and "epochs" in given:
            raise UsageError("--fixed: epochs is there, and --epochs too; drop one of the two")
        own = {"epochs": self.epochs} if self.epochs else {}
        values = {**given, **own, **pipeline.turned}
        try:
            pipeline.params.parse(values)
        except UsageError as error:
            raise UsageError(f"--fixed, {error}") from None
        of_all = {"limit": self.limit, "seed": self.seed, "register": False, "resume": False}
        return values | of_all

    @cached_property
    def searched(self) -> Space:
        """The space, checked against the pipeline's parameters."""
        shipped = {file.name: str(file) for file in SPACES.glob("*.yaml")}
        text = shipped.get(self.space, self.space)
        space = read_space(text, PIPELINES[self.pipeline].params, self.common, NOT_SEARCHED)
        if max(len(self.space), len(as_text(space))) > LONGEST_TEXT:
            raise UsageError(f"--space: it is longer than {LONGEST_TEXT:,} characters")
        return space

    @cached_property
    def points(self) -> Sequence[Mapping[str, Any]]:
        """The points to try; of `search=tpe`, where each follows from those before, examples."""
        match self.search:
            case "grid":
                points = self._grid()
            case "random":
                points = sample(self.searched, self.trials or USUAL_TRIALS, self.seed)
            case "tpe":
                examples = sample(self.searched, EXAMPLES, self.seed)
                points = [p for p in examples if self._allows(p)] or examples[:1]
        for point in points:
            self.parse_trial(point)
        return points

    @property
    def count(self) -> int:
        """How many trials there are to be."""
        if self.search != "tpe":
            return len(self.points)
        return int(min(self.trials or USUAL_TRIALS, size(self.searched)))

    def parse_trial(self, point: Mapping[str, Any]) -> TrainingParams:
        """The parameters of a trial.

        Raises:
            UsageError: the pipeline does not take these values together.
        """
        try:
            return PIPELINES[self.pipeline].params.parse({**self.common, **point})
        except UsageError as error:
            raise UsageError(f"--space, {name_of(point)}: {error}") from None

    def _allows(self, point: Mapping[str, Any]) -> bool:
        with suppress(UsageError):
            return bool(self.parse_trial(point))
        return False

    def _grid(self) -> list[dict[str, Any]]:
        there_are = size(self.searched)
        if MOST_TRIALS < there_are < math.inf:
            raise UsageError(
                f"--search grid: it has {there_are:,.0f} points, more than {MOST_TRIALS:,}; take "
                "random or tpe"
            )
        points = grid(self.searched)
        if 0 < self.trials < len(points):
            raise UsageError(
                f"--trials {self.trials}: the grid has {len(points):,} points; leave it out to run "
                "them all, or take random or tpe"
            )
        return points

    @property
    def seeds(self) -> range:
        """Of the runs of the best point."""
        return range(self.seed, self.seed + self.repeat_best + 1)

    def command_for(self, point: Mapping[str, Any]) -> str:
        """What to type to run the pipeline as the trial of a point did."""
        set_elsewhere = {"register", "resume", "tracking", *PIPELINES[self.pipeline].turned}
        flags = {name: v for name, v in self.common.items() if name not in set_elsewhere}
        flags |= point
        pairs = (shlex.quote(f"{name}={shown(value)}") for name, value in flags.items())
        return " ".join([f"mlflow run . -e {self.pipeline}", *(f"-P {pair}" for pair in pairs)])


def main(params: Params, on_trial: "TrialHook | None" = None) -> "SweepResult":
    """Search the parameters of a pipeline, each trial a child of one run in MLflow."""
    pipeline, common = PIPELINES[params.pipeline], params.common
    # What a trial would refuse is refused before anything is made.
    usual = params.parse_trial(params.points[0])
    pipeline.params.parse({**common, "seed": params.seeds[-1]})
    data = pipeline.read(usual)

    # Loaded now, not on top: --help, and a mistake, must not wait for Ray.
    from trackml.cluster import cluster, share_out
    from trackml.evaluation.sweep import Findings, best_point, curves_of, report_sweep, tabulate
    from trackml.sweep import SweepResult, run_trials
    from trackml.tracking.registry import register_run
    from trackml.tracking.run import tracked_run
    from trackml.tracking.store import check_reach
    from trackml.trial import Trial
    from trackml.tuning import Search

    trials: Search | list[Trial]
    if params.search == "tpe":
        trials = Search(params.searched, params.count, params.seed, common)
    else:
        trials = [Trial(name_of(point), {**common, **point}) for point in params.points]
    # Keras takes a GPU that is there, unasked.
    usually: DeviceName = "cpu" if pipeline.framework == "numpy" else "auto"
    device: DeviceName = getattr(usual, "device", usually)
    with cluster(params.ray_address, packages=["trackml", "pipelines"]) as resources:
        share = share_out(resources, params.count, params.concurrency, device)
        check_reach(resources.hosts)
        with tracked_run(params, data, framework=pipeline.framework, architecture="sweep") as run:
            run_all = partial(
                run_trials, pipeline.main, pipeline.params, parent=run, share=share, hook=on_trial
            )
            failed = run_all(trials, prune=params.prune, score_test=False)
            children = run.trials(curves=curves_of(pipeline.metric))
            tried = tabulate(children, params.searched, pipeline.metric)
            best = best_point(tried, params.searched)
            again = [
                Trial(f"best {name_of(best)} seed {seed}", {**common, **best, "seed": seed})
                for seed in params.seeds
            ]
            failed += run_all(again)
            scores = [f"best_val_{pipeline.metric}", f"test_{pipeline.metric}"]
            scored = run.trials(params=["seed"], metrics=scores)
            of_best = scored["name"].isin([trial.name for trial in again])
            found = Findings(
                pipeline=params.pipeline,
                metric=pipeline.metric,
                space=params.searched,
                tried=tried,
                best=best,
                scored=scored[of_best & (scored["state"] == "finished")],
                failed=failed,
            )
            command = params.command_for({**best, "seed": int(found.best_run["seed"])})
            run.log_report(report_sweep(found, command))
            wanted = params.register_model
            registration = register_run(run.client, found.best_run["run_id"]) if wanted else None
    return SweepResult(run.run_id, found, command, registration, folder=run.journal.folder)


if __name__ == "__main__":
    from trackml.console import sweep

    command_line(main, Params, sweep)
