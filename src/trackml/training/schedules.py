"""Learning-rate schedules: factors of the learning rate, as pure functions."""

import math
from collections.abc import Callable, Mapping

from trackml.history import History

Schedule = Callable[[float, History], float]
"""(completed fraction of training, 0 to below 1; history so far) → factor."""

WARM_UP = 0.3
START_FACTOR = 1 / 25
PLATEAU_EPOCHS = 2
PLATEAU_FACTOR = 0.5


def constant(_done: float, _history: History) -> float:
    """Always 1."""
    return 1.0


def cosine(done: float, _history: History) -> float:
    """From 1 towards 0 along half a cosine wave (Loshchilov & Hutter, 2017, without restarts)."""
    return (1 + math.cos(math.pi * done)) / 2


def one_cycle(done: float, history: History) -> float:
    """From 1/25 to 1 in the first 30 % of training, then towards 0, both along half a cosine.

    The learning rate of Smith & Topin (2018) and of PyTorch's OneCycleLR with its defaults, except
    that it ends at 0. The momentum stays constant.
    """
    if done < WARM_UP:
        return START_FACTOR + (1 - START_FACTOR) * (1 - math.cos(math.pi * done / WARM_UP)) / 2
    return cosine((done - WARM_UP) / (1 - WARM_UP), history)


def plateau(_done: float, history: History) -> float:
    """Halved whenever the validation loss has not fallen for two epochs."""
    lowest, waited, factor = math.inf, 0, 1.0
    for row in history.rows:
        waited = 0 if row["val_loss"] < lowest else waited + 1
        lowest = min(lowest, row["val_loss"])
        if waited == PLATEAU_EPOCHS:
            waited, factor = 0, factor * PLATEAU_FACTOR
    return factor


SCHEDULES: Mapping[str, Schedule] = {
    schedule.__name__: schedule for schedule in (constant, plateau, cosine, one_cycle)
}
