"""Learning-rate schedules: what the optimiser's rate is multiplied by as training goes on."""

import math
from collections.abc import Callable, Mapping

from trackml.fields import ScheduleName
from trackml.history import History

Schedule = Callable[[float, History], float]
"""(share of the training that is done, 0 to below 1; history so far) → factor."""

WARM_UP = 0.3
START_FACTOR = 1 / 25
PLATEAU_EPOCHS = 2
PLATEAU_FACTOR = 0.5


def constant(_done: float, _history: History) -> float:
    """The rate that was asked for, to the end."""
    return 1.0


def cosine(done: float, _history: History) -> float:
    """From 1 towards 0 along half a cosine wave (Loshchilov & Hutter, 2017, no restarts)."""
    return (1 + math.cos(math.pi * done)) / 2


def one_cycle(done: float, history: History) -> float:
    """From 1/25 up to 1 in the first 30 % of training, then towards 0, both along half a cosine.

    The learning rate of Smith & Topin (2018), as PyTorch's OneCycleLR has it, at its defaults but
    that it ends at 0. Momentum stays what it is.
    """
    if done < WARM_UP:
        return START_FACTOR + (1 - START_FACTOR) * (1 - math.cos(math.pi * done / WARM_UP)) / 2
    return cosine((done - WARM_UP) / (1 - WARM_UP), history)


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
    "one_cycle": one_cycle,
}
