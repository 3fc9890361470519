"""All variants of `cnn` with all optimizers, side by side: which is best, how soon, how sure.

mlflow run . -e cnn_suite -P epochs=3      # 3 min 5 s on 2 cores
"""

from itertools import product
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from trackml.cli import command_line
from trackml.console import SWEEP
from trackml.params import (
    Concurrency,
    OptimizerName,
    RayAddress,
    parse_names,
    some_of,
)
from trackml.progress import progress_of

from . import cnn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trackml.sweeps.plan import Trial
    from trackml.sweeps.runner import SweepResult
    from trackml.sweeps.tuner import TrialCallback

VIEW = SWEEP  # what a person sees of it
FACTORS = ("variant", "optimizer")
OPTIMIZERS: tuple[OptimizerName, ...] = ("adam", "sgd", "rmsprop")
Variants = Annotated[
    str, some_of(cnn.VARIANTS), Field(description="variants of the network to compare")
]
Optimizers = Annotated[str, some_of(OPTIMIZERS), Field(description="update rules to compare")]


class Params(cnn.CommonParams):
    """Parameters of `cnn_suite`; those that `cnn` has go to each trial."""

    variants: Variants = "all"
    optimizers: Optimizers = "all"
    seeds: int = Field(1, ge=1, le=1000, description="runs of each, with seeds from --seed on")
    concurrency: Concurrency = "auto"
    ray_address: RayAddress = "local"
    tracking: Literal["direct"] = Field("direct", description="a suite's memory is its store")

    @property
    def trials(self) -> "list[Trial]":
        """A run of `cnn` for each variant, optimizer and seed."""
        from trackml.sweeps.plan import Trial  # not on top: it loads Optuna

        common = self.model_dump(by_alias=True, include=set(cnn.CommonParams.model_fields))
        common |= {"register": False, "resume": False}
        variants = parse_names(self.variants, cnn.VARIANTS)
        optimizers = parse_names(self.optimizers, OPTIMIZERS)
        seeds = range(self.seed, self.seed + self.seeds)
        return [
            Trial(
                f"{variant} {optimizer} seed {seed}",
                common | {"variant": variant, "optimizer": optimizer, "seed": seed},
            )
            for variant, optimizer, seed in product(variants, optimizers, seeds)
        ]


def main(params: Params, callbacks: "Sequence[TrialCallback]" = ()) -> "SweepResult":
    """Compare the variants and optimizers of `cnn`, each run a child of one run in MLflow."""
    trials = params.trials
    for trial in trials:
        cnn.Params.parse(trial.values)  # what a trial would refuse is refused here
    data = cnn.TASK.load(params)

    # Loaded now, not on top: --help, and a mistake, must not wait for Ray.
    from trackml.sweeps.report import SUITE_CURVES, SUITE_METRICS, report_suite
    from trackml.sweeps.runner import Sweep, allotted
    from trackml.tracking.run import tracked_run

    with (
        allotted(
            params.ray_address, params.concurrency, len(trials), params.device, cnn.main
        ) as allotment,
        tracked_run(cnn.TASK, params, data, "cnn_suite", [progress_of(callbacks)]) as run,
    ):
        sweep = Sweep(run, cnn.main, cnn.Params, allotment, callbacks)
        failed = sweep.run_trials(trials)
        children = run.child_table(params=FACTORS, metrics=SUITE_METRICS, curves=SUITE_CURVES)
        return sweep.finish(report_suite("cnn_suite", children, FACTORS, failed))


if __name__ == "__main__":
    command_line(main, Params, VIEW)
