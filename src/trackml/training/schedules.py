"""Learning-rate schedules: what the optimiser's rate is multiplied by as training goes on."""

import math
from collections.abc import Callable, Mapping

from trackml.history import History
from trackml.params import ScheduleName

Schedule = Callable[[float, History], float]
"""(share of the epochs that is done, 0 to below 1; history so far) → factor."""

PLATEAU_EPOCHS = 2
PLATEAU_FACTOR = 0.5


def constant(_done: float, _history: History) -> float:
    """The rate that was asked for, to the end."""
    return 1.0


def cosine(done: float, _history: History) -> float:
    """From 1 towards 0 along half a cosine wave (Loshchilov & Hutter, 2017, no restarts)."""
    return (1 + math.cos(math.pi * done)) / 2


def plateau(_done: float, history: History) -> float:
    """Half, each time that the validation loss has not fallen for two epochs."""
    lowest, waited, factor = math.inf, 0, 1.0
    for row in history.rows:
        if row["val_loss"] < lowest:
            lowest, waited = row["val_loss"], 0
            continue
        waited += 1
        if waited == PLATEAU_EPOCHS:
            waited, factor = 0, factor * PLATEAU_FACTOR
    return factor


SCHEDULES: Mapping[ScheduleName, Schedule] = {
    "constant": constant,
    "plateau": plateau,
    "cosine": cosine,
}
