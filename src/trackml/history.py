"""What training leaves behind: a row of metrics per epoch, and which epoch was the best."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from trackml.errors import TrackmlError

Metric = Literal["accuracy", "mae", "map"]
EpochHook = Callable[[int, Mapping[str, float]], None]
"""Called after each epoch with its number, from 1, and its metrics by the names of the contract;
before them with 0 and the untrained model's scores, by pipelines that take those.
"""

CONVERGED_WITHIN = 0.001

HIGHER_IS_BETTER: Mapping[Metric, bool] = {"accuracy": True, "mae": False, "map": True}


class NonFiniteLoss(TrackmlError):
    """The loss, or a weight, became nan or infinite; the message names the epoch."""


@dataclass(frozen=True)
class History:
    """The metrics of each epoch, in order; the metric that ranks them; in what they were computed.

    Each row has train_loss, val_loss, val_METRIC, of most models train_METRIC, and of some more
    scores, all means over samples; learning_rate, as asked for at that epoch's first step;
    epoch_seconds, validation included; and samples_per_second of the training alone.

    `initial` has the scores before training, if they were taken; `stopped` says why training ended
    before its last epoch, if it did.
    """

    metric: Metric
    precision: str
    device: str = "cpu"
    rows: tuple[Mapping[str, float], ...] = ()
    initial: Mapping[str, float] = field(default_factory=dict)
    stopped: str = ""

    def extended(self, row: Mapping[str, float]) -> "History":
        """This history and one more epoch.

        Raises:
            NonFiniteLoss: a loss in `row` is nan or infinite.
        """
        epoch = len(self.rows) + 1
        for name in ("train_loss", "val_loss"):
            if not math.isfinite(row[name]):
                raise NonFiniteLoss(
                    f"{name} is {row[name]} in epoch {epoch}: training stopped; "
                    "try a smaller --learning_rate"
                )
        return replace(self, rows=(*self.rows, row))

    @property
    def best_epoch(self) -> int:
        """The epoch, from 1, with the best validation metric; among equals, the lowest loss."""
        sign = -1 if HIGHER_IS_BETTER[self.metric] else 1
        keys = [(sign * row[f"val_{self.metric}"], row["val_loss"]) for row in self.rows]
        return 1 + keys.index(min(keys))

    @property
    def best(self) -> Mapping[str, float]:
        """The metrics of the best epoch."""
        return self.rows[self.best_epoch - 1]

    @property
    def summary(self) -> dict[str, float]:
        """best_epoch, and the validation loss and metric of that epoch, whose weights are kept.

        Of classifiers also convergence_epoch: the first epoch whose validation accuracy is within
        0.1 percentage points of the best.
        """
        summary = {
            "best_epoch": self.best_epoch,
            "best_val_loss": self.best["val_loss"],
            f"best_val_{self.metric}": self.best[f"val_{self.metric}"],
        }
        if self.metric == "accuracy":
            summary["convergence_epoch"] = self._convergence_epoch
        return summary

    def as_dict(self) -> dict[str, Any]:
        """For a file: best_epoch, epochs, and what else is known of `initial` and `stopped`."""
        known = {"initial": dict(self.initial), "stopped": self.stopped}
        return {
            "best_epoch": self.best_epoch,
            **{name: value for name, value in known.items() if value},
            "epochs": [dict(row) for row in self.rows],
        }

    @property
    def _convergence_epoch(self) -> int:
        # Accuracies are shares of a count: what is exactly 0.1 points away must not be missed.
        enough = self.best["val_accuracy"] - CONVERGED_WITHIN - 1e-9
        return 1 + next(i for i, row in enumerate(self.rows) if row["val_accuracy"] >= enough)
