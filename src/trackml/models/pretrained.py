"""Weights that a backbone starts from: torchvision's own, or those in a file."""

import hashlib
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import torch
from torch import Tensor
from torchvision.models import AlexNet_Weights, VGG16_Weights, WeightsEnum

from trackml.data import cache
from trackml.data.catalog import Dataset, File
from trackml.data.sources import Folder, Mirrors
from trackml.errors import TrackmlError, UsageError
from trackml.fields import Backbone
from trackml.models.transfer import bare_features

# The first digits of each sum are in the name of torchvision's file, which checks no more.
_IMAGENET: Mapping[Backbone, tuple[WeightsEnum, int, str]] = {
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
_PART = "features."  # of torchvision's networks: their convolutions
_DROPPED = "classifier."  # their 1000-class head, for which another number of classes will do
_NUMBERS = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64)
_WANTED = "a state dict is needed, as torch.save(model.state_dict(), PATH) writes it"


@dataclass(frozen=True)
class Weights:
    """Of a backbone's convolutions, by their names in its `features`; SHA-256 of their file."""

    tensors: Mapping[str, Tensor]
    sha256: str


def load_weights(backbone: Backbone, weights: str) -> Weights | None:
    """The weights of a backbone's convolutions.

    Args:
        weights: "imagenet" for those that torchvision offers, "none" for no weights, else the path
            of a state dict in torchvision's format.

    Raises:
        TrackmlError: nobody delivered them, or the file is not such a state dict.
        UsageError: there is no such file.
    """
    match weights:
        case "none":
            return None
        case "imagenet":
            content = _download(backbone)
        case _:
            content = _file(weights)
    sha256 = hashlib.sha256(content).hexdigest()
    return Weights(_convolutions(content, backbone, weights), sha256)


def _file(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(
            f"--weights {path}: expected imagenet, none, or the path of a state dict "
            f"({Path(path).absolute()}: {error.strerror or type(error).__name__})"
        ) from error


def _download(backbone: Backbone) -> bytes:
    published, size, sha256 = _IMAGENET[backbone]
    url = published.value.url
    name = Path(urlsplit(url).path).name
    wanted = Dataset(
        f"{backbone}_imagenet",
        (File(name, size, sha256),),
        (
            Folder(f"{torch.hub.get_dir()}/checkpoints", ("{name}",), label="PyTorch's own cache"),
            Mirrors(url.replace(name, "{name}")),
        ),
        decode=lambda raw, _size: raw,
        by_hand=("{name}",),
    )
    try:
        (content,), _ = cache.fetch(wanted)
    except cache.DataUnavailable as error:
        raise cache.DataUnavailable(f"{error}. Or train without: --weights none") from error
    return content


def _convolutions(content: bytes, backbone: Backbone, source: str) -> Mapping[str, Tensor]:
    """Those of a file's weights that belong to the backbone's convolutions, all of them there."""
    state = {
        name: tensor
        for name, tensor in _read(content, source).items()
        if not name.startswith(_DROPPED)
    }
    expected = {
        _PART + name: tensor for name, tensor in bare_features(backbone).state_dict().items()
    }
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
                f"--weights {source}: {shown} has values that are no finite numbers in float32"
            )
    return {name.removeprefix(_PART): tensor.float() for name, tensor in state.items()}


def _read(content: bytes, source: str) -> Mapping[str, Tensor]:
    try:
        if zipfile.is_zipfile(BytesIO(content)):
            _check_sums(content)  # PyTorch's reader does not
        with warnings.catch_warnings():
            # PyTorch's, of files that are refused all the same: the error says enough.
            warnings.simplefilter("ignore", UserWarning)
            state = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can make PyTorch's reader stumble anywhere
        # PyTorch's own text says how to load it all the same, and that would run what is in it.
        raise TrackmlError(
            f"--weights {source}: refused by torch.load(weights_only=True), as it is damaged, no "
            f"file of PyTorch, or holds more than tensors; {_WANTED}"
        ) from error
    if not isinstance(state, Mapping) or not all(map(_is_weight, state.items())):
        raise TrackmlError(
            f"--weights {source}: holds {type(state).__name__}, and not a state dict of names and "
            f"tensors of numbers; {_WANTED}"
        )
    return state


def _check_sums(content: bytes) -> None:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"{damaged} is damaged")


def _is_weight(item: tuple[object, object]) -> bool:
    name, tensor = item
    return (
        isinstance(name, str)
        and isinstance(tensor, Tensor)
        and tensor.dtype in _NUMBERS
        and tensor.layout is torch.strided
        and tensor.device.type == "cpu"  # and not "meta", which has no values
    )
