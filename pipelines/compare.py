"""CNN, Faster R-CNN, VGG16 and AlexNet side by side, from the runs that are in MLflow.

mlflow run . -e compare
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from trackml import params as base
from trackml.cli import command_line

if TYPE_CHECKING:
    from trackml.evaluation.models import Comparison

MODELS: Mapping[str, tuple[str, str]] = {  # architecture → name, entry point that trains it
    "cnn": ("CNN", "cnn"),
    "faster-rcnn": ("Faster R-CNN", "detector"),
    "vgg16": ("VGG16", "transfer -P backbone=vgg16"),
    "alexnet": ("AlexNet", "transfer -P backbone=alexnet"),
}


class Params(base.Params):
    """Parameters of `compare`."""

    min_runs: int = Field(
        1, ge=1, description="runs that a configuration needs, each with another seed, to count"
    )


def main(params: Params, _hook: None = None) -> "Comparison":
    """Compare the PyTorch models of MNIST digits, by their finished runs in MLflow."""
    # Loaded now, not on top: --help, and a mistake, must not wait for MLflow.
    from trackml.errors import TrackmlError
    from trackml.evaluation.models import SCORES, Comparison, report_comparison, side_by_side
    from trackml.leaderboard import best_configurations, comparable
    from trackml.tracking import store
    from trackml.tracking.past import finished_runs, with_best_epoch
    from trackml.tracking.record import recorded

    client = store.connect()
    needed = [*SCORES, "best_epoch", "epoch_seconds"]
    runs = finished_runs(client, "torch", ["mnist", "mnist_detector"], list(MODELS), needed)
    chosen = comparable(runs)
    best = best_configurations(chosen, params.min_runs)
    left_out = runs["architecture"].value_counts() - chosen["architecture"].value_counts()
    others = [
        f"{name}: {left_out[architecture]} of its runs left out, validated on other rows"
        for architecture, (name, _) in MODELS.items()
        if left_out.get(architecture, 0) > 0
    ]
    seeds = f"{params.min_runs} finished runs with seeds of their own"
    wanted = seeds if params.min_runs > 1 else "a finished run"
    missing = [
        f"{name}: no configuration has {wanted}; mlflow run . -e {command} makes one"
        for architecture, (name, command) in MODELS.items()
        if architecture not in set(best["architecture"])
    ]
    if len(missing) == len(MODELS):
        raise TrackmlError("nothing to compare: " + "; ".join(missing))
    names = {architecture: name for architecture, (name, _) in MODELS.items()}
    comparison = Comparison(side_by_side(with_best_epoch(client, best), names), missing + others)
    with recorded(params, experiment="mnist", name="compare") as run:
        run.log_report(report_comparison(comparison))
    return comparison


if __name__ == "__main__":
    from trackml.console import comparison

    command_line(main, Params, comparison)
