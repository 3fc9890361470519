"""Spaces of parameters in the terms of Optuna."""

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from trackml.space import Choices, Range, Space, WholeRange


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """A space in the terms of Optuna."""
    return {name: _distribution(one) for name, one in space.items()}


def _distribution(one: Choices | Range | WholeRange) -> BaseDistribution:
    if isinstance(one, Choices):
        return CategoricalDistribution(one.values)
    if isinstance(one, Range):
        return FloatDistribution(one.low, one.high, log=one.log)
    return IntDistribution(one.low, one.high, log=one.log)
