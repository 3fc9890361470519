"""The exponential moving average of weights (Polyak & Juditsky, 1992), for PyTorch and NumPy."""

from collections.abc import Callable, Sequence
from typing import Any


class Average:
    """The average of all weights, arrays or tensors, which are that average between epochs.

    In an epoch they are those that are trained. With a decay of 0 it does nothing.

    Attributes:
        others: the averages in an epoch, the trained weights between epochs.
        steps: how many weights went into the averages.
    """

    def __init__(self, weights: Sequence[Any], decay: float, copy: Callable[[Any], Any]) -> None:
        self._decay, self._copy = decay, copy
        self._weights = list(weights) if decay else []
        self.others = [copy(weight) for weight in self._weights]
        self.steps = 0

    def swap(self) -> None:
        """Exchange the averages and the trained weights: where an epoch begins, where it ends."""
        for weight, other in zip(self._weights, self.others, strict=True):
            value = self._copy(weight)
            weight[...] = other
            other[...] = value

    def update(self) -> None:
        """Add the weights after a step."""
        if not self._decay:
            return
        # At first less: the average would be that of the random weights at the start.
        decay = min(self._decay, (1 + self.steps) / (10 + self.steps))
        for weight, mean in zip(self._weights, self.others, strict=True):
            if "float" in str(mean.dtype):
                mean[...] += (1 - decay) * (weight - mean)  # exactly 0 for a constant
            else:
                mean[...] = weight  # such as the number of batches that batch norm has seen
        self.steps += 1
