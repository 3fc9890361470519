"""All variants of `cnn` with all optimisers, side by side: which is best, how soon, how sure.

mlflow run . -e cnn_suite -P epochs=3      # 3 min 5 s on 2 cores
"""

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pipelines import cnn
from trackml.cli import command_line
from trackml.data import load
from trackml.fields import (
    OPTIMIZER_NAMES,
    VARIANTS,
    Concurrency,
    Optimizers,
    RayAddress,
    Variants,
    parse_names,
)

if TYPE_CHECKING:
    from trackml.sweep import SuiteResult
    from trackml.tuning import TrialHook

FACTORS = ("variant", "optimizer")


class Params(cnn.CommonParams):
    """Parameters of `cnn_suite`; those that `cnn` has go to each trial."""

    variants: Variants = "all"
    optimizers: Optimizers = "all"
    seeds: int = Field(1, ge=1, le=1000, description="runs of each, with seeds from --seed on")
    concurrency: Concurrency = "auto"
    ray_address: RayAddress = "local"
    tracking: Literal["direct"] = Field("direct", description="a suite's memory is its store")

    def trials(self) -> Sequence[tuple[str, dict[str, Any]]]:
        """The name of each trial, and its parameters of `cnn` by flag."""
        common = self.model_dump(by_alias=True, include=set(cnn.CommonParams.model_fields))
        variants = parse_names(self.variants, VARIANTS)
        optimizers = parse_names(self.optimizers, OPTIMIZER_NAMES)
        seeds = range(self.seed, self.seed + self.seeds)
        return [
            (
                f"{variant} {optimizer} seed {seed}",
                common
                | {"variant": variant, "optimizer": optimizer, "seed": seed}
                | {"register": False, "resume": False},
            )
            for variant, optimizer, seed in product(variants, optimizers, seeds)
        ]


def main(params: Params, on_trial: "TrialHook | None" = None) -> "SuiteResult":
    """Compare the variants and optimisers of `cnn`, each run a child of one run in MLflow."""
    for _, values in params.trials():
        cnn.Params.parse(values)  # what a trial would refuse is refused before anything is made
    data = load("mnist", params.validation_split, params.limit)

    # Loaded now, not on top: --help, and a mistake, must not wait for Ray.
    from trackml.cluster import cluster, share_out
    from trackml.evaluation.suite import METRICS, report_suite, summarise, winners
    from trackml.sweep import SuiteResult, run_trials
    from trackml.tracking.registry import register_run
    from trackml.tracking.run import tracked_run
    from trackml.tracking.store import check_reach
    from trackml.trial import Trial

    trials = [Trial(name, values) for name, values in params.trials()]
    with cluster(params.ray_address, packages=["trackml", "pipelines"]) as resources:
        share = share_out(resources, len(trials), params.concurrency, params.device)
        check_reach(resources.hosts)
        with tracked_run(params, data, framework="torch", architecture="cnn_suite") as run:
            failed = run_trials(cnn.main, cnn.Params, trials, run, share, on_trial)
            children = run.trials(
                params=FACTORS, metrics=METRICS, curves=["val_accuracy", "epoch_seconds"]
            )
            finished = children[children["state"] == "finished"].reset_index(drop=True)
            finished["seconds"] = finished["epoch_seconds"].map(sum)
            failures = [f"{outcome.name}: {outcome.failure}" for outcome in failed]
            run.log_report(report_suite(finished, FACTORS, failures))
            chosen = list(winners(finished, FACTORS)["run_id"]) if params.register_model else []
            registrations = [register_run(run.client, run_id) for run_id in chosen]
    table = summarise(finished, FACTORS)
    kept = run.journal.folder
    return SuiteResult(run.run_id, "cnn_suite", FACTORS, table, failed, registrations, folder=kept)


if __name__ == "__main__":
    from trackml.console import trials

    command_line(main, Params, trials)
