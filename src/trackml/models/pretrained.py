"""Weights that a backbone starts from: torchvision's, or those in a file."""

import hashlib
import warnings
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import torch
from torch import Tensor
from torchvision.models import AlexNet_Weights, VGG16_Weights, WeightsEnum

from trackml.data import cache
from trackml.data.sources import Folder, Mirrors
from trackml.errors import TrackmlError, UsageError
from trackml.models.transfer import bare_features

# torchvision checks only the first digits of each checksum, which are in its file's name.
_IMAGENET: Mapping[str, tuple[WeightsEnum, int, str]] = {
    "alexnet": (
        AlexNet_Weights.IMAGENET1K_V1,
        244_408_911,
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    ),
    "vgg16": (
        VGG16_Weights.IMAGENET1K_V1,
        553_433_881,
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    ),
}
_CONVOLUTIONS, _HEAD = "features.", "classifier."  # parts of torchvision's networks
_NUMBERS = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64)
_EXPECTED = "expected a state dict, as torch.save(model.state_dict(), PATH) writes it"


class Weights(NamedTuple):
    """Of a backbone's convolutions, by their names in its `features`; SHA-256 of their file."""

    tensors: Mapping[str, Tensor]
    sha256: str


def load_weights(backbone: str, weights: str) -> Weights | None:
    """The weights of a backbone's convolutions.

    Args:
        backbone: "alexnet" or "vgg16".
        weights: "imagenet" for those that torchvision offers, "none" for no weights, else the path
            of a state dict in torchvision's format.

    Raises:
        TrackmlError: no source could provide them, or the file is not such a state dict.
        UsageError: there is no such file.
    """
    if weights == "none":
        return None
    content = _imagenet(backbone) if weights == "imagenet" else _file(weights)
    tensors = _convolutions(_state_dict(content, weights), backbone, weights)
    return Weights(tensors, hashlib.sha256(content).hexdigest())


def _file(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(
            f"--weights {path}: expected imagenet, none, or the path of a state dict "
            f"({Path(path).absolute()}: {error.strerror or type(error).__name__})"
        ) from error


def _imagenet(backbone: str) -> bytes:
    published, size, sha256 = _IMAGENET[backbone]
    url = published.value.url
    name = Path(urlsplit(url).path).name
    dataset = cache.Dataset(
        f"{backbone}_imagenet",
        (cache.File(name, size, sha256),),
        (
            Folder(f"{torch.hub.get_dir()}/checkpoints", ("{name}",), label="PyTorch's own cache"),
            Mirrors(url.replace(name, "{name}")),
        ),
        decode=lambda raw, _size: raw,
        by_hand=("{name}",),
    )
    try:
        (content,), _ = cache.fetch(dataset)
    except cache.DataUnavailable as error:
        raise cache.DataUnavailable(f"{error}. Or train without: --weights none") from error
    return content


def _state_dict(content: bytes, source: str) -> Mapping[str, Tensor]:
    try:
        if zipfile.is_zipfile(BytesIO(content)):
            _check_zip(content)  # PyTorch does not
        with warnings.catch_warnings():
            # PyTorch warns about some files that it then refuses: the error is enough.
            warnings.simplefilter("ignore", UserWarning)
            state = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        # Without PyTorch's own text: it explains how to load the file all the same, with its code.
        raise TrackmlError(
            f"--weights {source}: refused by torch.load(weights_only=True), as it is damaged, no "
            f"file of PyTorch, or holds more than tensors; {_EXPECTED}"
        ) from error
    if not isinstance(state, Mapping) or not all(map(_is_weight, state, state.values())):
        raise TrackmlError(
            f"--weights {source}: holds {type(state).__name__}, and not a state dict of names and "
            f"tensors of numbers; {_EXPECTED}"
        )
    return state


def _check_zip(content: bytes) -> None:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"{damaged} is damaged")


def _is_weight(name: object, tensor: object) -> bool:
    return (
        isinstance(name, str)
        and isinstance(tensor, Tensor)
        and tensor.dtype in _NUMBERS
        and tensor.layout is torch.strided
        and tensor.device.type == "cpu"  # "meta" tensors have no values
    )


def _convolutions(state: Mapping[str, Tensor], backbone: str, source: str) -> Mapping[str, Tensor]:
    """The weights of the backbone's convolutions, all of them and no others."""
    state = {name: tensor for name, tensor in state.items() if not name.startswith(_HEAD)}
    bare = bare_features(backbone).state_dict()
    expected = {_CONVOLUTIONS + name: tensor for name, tensor in bare.items()}
    for name in (*expected, *state):
        here, there = (
            " x ".join(map(str, tensors[name].shape)) if name in tensors else "missing"
            for tensors in (state, expected)
        )
        shown = f"{name:.80}" if name.isprintable() else f"{name!r:.80}"
        if here != there:
            raise TrackmlError(
                f"--weights {source}: not of torchvision's {backbone}: {shown} is {here} in the "
                f"file and {there} in the network"
            )
        if not state[name].float().isfinite().all():
            raise TrackmlError(
                f"--weights {source}: {shown} has values that are not finite numbers in float32"
            )
    return {name.removeprefix(_CONVOLUTIONS): tensor.float() for name, tensor in state.items()}
