"""The exponential moving average of weights (Polyak & Juditsky, 1992)."""

from collections.abc import Callable, Sequence
from typing import Any


def decay_at(decay: float, step: Any, smaller: Callable[[Any, Any], Any] = min) -> Any:
    """The decay at a step, from 0: less at first, to forget the random weights at the start.

    >>> decay_at(0.99, 0), decay_at(0.99, 10_000)
    (0.1, 0.99)

    Args:
        step: a number, or a tensor whose minimum is `smaller`.
    """
    return smaller(decay, (1 + step) / (10 + step))


class Average:
    """The average of all weights, arrays of NumPy or tensors of PyTorch.

    Between epochs the weights are that average. In an epoch they are those that are trained. With a
    decay of 0 it does nothing.

    Attributes:
        others: the averages in an epoch, the trained weights between epochs.
        steps: how many weights went into the averages.
    """

    def __init__(
        self,
        weights: Sequence[Any],
        decay: float,
        copy: Callable[[Any], Any],
        approach: Callable[[Sequence[Any], Sequence[Any], float], None],
    ) -> None:
        """Begin with these weights.

        Args:
            approach: a function of averages, weights and a share, which moves each average by that
                share of the way to its weight, in place, and not at all where they are equal.
        """
        self._decay, self._copy, self._approach = decay, copy, approach
        self._weights = list(weights) if decay else []
        self.others = [copy(weight) for weight in self._weights]
        self.steps = 0

    def swap(self) -> None:
        """Exchange the averages and the trained weights: where an epoch begins, where it ends."""
        # All are read before one is written: layers may share a weight, which is then here twice.
        values = [self._copy(weight) for weight in self._weights]
        for weight, other in zip(self._weights, self.others, strict=True):
            weight[...] = other
        self.others = values

    def update(self) -> None:
        """Add the weights after a step."""
        if not self._decay:
            return
        self._approach(self.others, self._weights, 1 - decay_at(self._decay, self.steps))
        self.steps += 1
