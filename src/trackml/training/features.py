"""What frozen layers say, computed once and kept in memory, for the layers that are trained."""

from dataclasses import dataclass

import torch
from torch import nn

from trackml.training.objectives import Array, Split, Splits
from trackml.training.torch import Device, answers

LARGEST_CACHE = 2**30  # bytes of all answers, which exist twice while they are put together


@dataclass(frozen=True)
class Features:
    """features: float32 (N, ...). targets: (N,)."""

    features: Array
    targets: Array

    @property
    def arrays(self) -> tuple[Array, Array]:
        return self.features, self.targets


@dataclass(frozen=True)
class FeatureData:
    """The features of two splits."""

    train: Features
    validation: Features


def skip_frozen(
    frozen: nn.Sequential, trained: nn.Sequential, data: Splits, device: Device
) -> tuple[nn.Module, Splits]:
    """What to train, and on what.

    That is `trained`, on what `frozen` says to the data. Where that needs more memory than
    LARGEST_CACHE it is both together, on the data, as it is where nothing is frozen.

    Args:
        frozen, trained: consecutive layers of one network. It ends on `device`.
    """
    network = nn.Sequential(*frozen, *trained).to(device)
    if not len(frozen) or _size(frozen, data) > LARGEST_CACHE:
        return network, data

    def features(split: Split) -> Features:
        inputs, targets = split.arrays
        return Features(answers(frozen, inputs).numpy(), targets)

    return trained, FeatureData(features(data.train), features(data.validation))


def _size(frozen: nn.Sequential, data: Splits) -> int:
    """Bytes of what the frozen layers say to both splits."""
    (inputs, _), (others, _) = data.train.arrays, data.validation.arrays
    one: torch.Tensor = answers(frozen, inputs[:1])
    return one.nbytes * (len(inputs) + len(others))
