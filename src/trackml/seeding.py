"""One seed for everything random in this process."""

import random
import sys

import numpy as np


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy, and those frameworks that this process has loaded.

    Args:
        seed: 0 <= seed < 2**32, as NumPy's legacy generator demands.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # libraries that still draw from it must repeat too
    if keras := sys.modules.get("keras"):
        keras.utils.set_random_seed(seed)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)
