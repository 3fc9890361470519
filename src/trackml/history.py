"""The result of training: a row of metrics per epoch, and the best epoch."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from trackml.errors import TrackmlError
from trackml.metrics import ACCURACY, LOSS, METRICS, Metric

Callback = Callable[[int, Mapping[str, float]], str | None]
"""Called after each epoch with its number, from 1, and its metrics by the names of the contract.

Pipelines that score the untrained model call it with 0 first. If it returns a text, training stops
there, and the text becomes `History.stopped`; after epoch 0 and the last epoch it has no effect.
Estimators call it after the whole fit, for some iterations, where a text has no effect either.
"""
Callbacks = Sequence[Callback]

CONVERGED_WITHIN = 0.001  # of the best validation accuracy


class NonFiniteLoss(TrackmlError):
    """The loss or a weight became NaN or infinite; the message names the epoch."""


Step = Literal["epoch", "iteration"]


@dataclass(frozen=True)
class History:
    """The metrics of each epoch, in order, and how they were computed.

    Attributes:
        metric: ranks the epochs.
        precision, device: of the training steps.
        rows: per epoch train_loss, val_loss, val_METRIC, for most models train_METRIC, for some
            more metrics, all means over samples; learning_rate, of the epoch's first step;
            epoch_seconds, including validation; samples_per_second, of training alone.
        initial: the metrics before training, if they were computed.
        stopped: why training stopped before its last epoch; "" if it did not.
        metrics: of the user's own, which the rows have as val_NAME, and evaluations as test_NAME.
        is_iterative: False if there are no epochs: then the only row is the whole training.
        step: what a row is one of: an epoch, or an iteration of an estimator.
    """

    metric: Metric
    precision: str
    device: str = "cpu"
    rows: tuple[Mapping[str, float], ...] = ()
    initial: Mapping[str, float] = field(default_factory=dict)
    stopped: str = ""
    metrics: tuple[Metric, ...] = ()
    is_iterative: bool = True
    step: Step = "epoch"

    def extended(self, row: Mapping[str, float]) -> "History":
        """This history and one more epoch.

        Raises:
            NonFiniteLoss: a loss in `row` is NaN or infinite.
        """
        for name in ("train_loss", "val_loss"):
            if not math.isfinite(row[name]):
                raise NonFiniteLoss(
                    f"{name} is {row[name]} in epoch {len(self.rows) + 1}: training stopped; "
                    "try a smaller --learning_rate"
                )
        return replace(self, rows=(*self.rows, row))

    @property
    def best_epoch(self) -> int:
        """The epoch, from 1, with the best validation metric; on a tie, with the lowest loss."""
        scores = (self.metric.signed(row[f"val_{self.metric}"]) for row in self.rows)
        # A metric of the user's own may be nan, which is the worst.
        ranked = (-math.inf if math.isnan(score) else score for score in scores)
        keys = [(score, -row["val_loss"]) for score, row in zip(ranked, self.rows, strict=True)]
        return 1 + keys.index(max(keys))

    @property
    def best(self) -> Mapping[str, float]:
        """The metrics of the best epoch."""
        return self.rows[self.best_epoch - 1]

    @property
    def summary(self) -> dict[str, float]:
        """best_epoch, and its validation loss and metrics: those of the weights that are kept.

        The metric that ranks is the last of them. For classifiers that accuracy ranks also
        convergence_epoch: the first epoch whose validation accuracy is within 0.1 percentage points
        of the best. Without epochs there is neither of the two.
        """
        best = self.best
        every = dict.fromkeys([LOSS, *METRICS.values(), *self.metrics])
        names = [str(each) for each in every if each != self.metric and f"val_{each}" in best]
        summary = {f"best_val_{name}": best[f"val_{name}"] for name in (*names, str(self.metric))}
        if not self.is_iterative:
            return summary
        summary = {"best_epoch": self.best_epoch, **summary}
        if self.metric == ACCURACY:
            # Less a rounding error: accuracies that differ by exactly 0.1 points count.
            enough = best["val_accuracy"] - CONVERGED_WITHIN - 1e-9
            converged = [row["val_accuracy"] >= enough for row in self.rows]
            summary["convergence_epoch"] = 1 + converged.index(True)
        return summary

    def as_dict(self) -> dict[str, Any]:
        """For a file: epochs; best_epoch, `initial` and `stopped` unless there is no such thing."""
        best_epoch = self.best_epoch if self.is_iterative else 0
        optional = {"best_epoch": best_epoch, "initial": dict(self.initial)}
        optional |= {"stopped": self.stopped}
        return {
            **{name: value for name, value in optional.items() if value},
            "epochs": [dict(row) for row in self.rows],
        }
