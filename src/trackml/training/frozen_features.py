"""Outputs of the frozen layers, computed once and cached, to train the other layers on."""

from typing import NamedTuple

from torch import nn

from trackml.training.checkpoint import Array
from trackml.training.loop import Splits
from trackml.training.torch import Device, outputs

MAX_CACHE_BYTES = 2**30  # of all outputs; while batches are concatenated, twice that is in use


class CachedSplit(NamedTuple):
    """Outputs of the frozen layers, float32 (N, ...), and targets (N,)."""

    arrays: tuple[Array, Array]


class CachedSplits(NamedTuple):
    """The cached outputs of both splits, and the names of the classes, if there are any."""

    train: CachedSplit
    validation: CachedSplit
    classes: tuple[str, ...] = ()


def precompute(
    frozen: nn.Sequential, trained: nn.Sequential, data: Splits, device: Device
) -> tuple[nn.Module, Splits]:
    """The module to train, and the data to train it on.

    That is `trained`, with the outputs of `frozen`; or the whole network, with `data`, if no layer
    is frozen or the outputs need more than MAX_CACHE_BYTES.

    Args:
        frozen, trained: consecutive layers of a network, which is moved to `device`.
    """
    network = nn.Sequential(*frozen, *trained).to(device)
    splits = (data.train.arrays, data.validation.arrays)
    if not len(frozen):
        return network, data
    row_bytes = outputs(frozen, splits[0][0][:1]).nbytes
    if row_bytes * sum(len(targets) for _, targets in splits) > MAX_CACHE_BYTES:
        return network, data
    train, validation = (CachedSplit((outputs(frozen, x).numpy(), y)) for x, y in splits)
    return trained, CachedSplits(train, validation, getattr(data, "classes", ()))
