"""Frozen layers: what they say is computed once, and training on it is training as ever."""

import copy

import pytest
import torch
from torch import nn

from tests.pipelines.expected import without_times
from tests.training.test_torch import Example, small_network
from trackml.data import ImageData
from trackml.history import History
from trackml.seeding import seed_everything
from trackml.training import features
from trackml.training.features import skip_frozen
from trackml.training.torch import OPTIMIZERS, fit


def parts() -> tuple[nn.Sequential, nn.Sequential]:
    seed_everything(0)
    network = small_network()
    frozen, rest = network[:2], network[2:]
    frozen.requires_grad_(requires_grad=False)
    return frozen, rest


def trained(frozen: nn.Sequential, rest: nn.Sequential, data: ImageData) -> History:
    trainee, inputs = skip_frozen(frozen, rest, data, "cpu")
    params = Example.parse({"epochs": 4, "precision": "float32"})
    optimizer = OPTIMIZERS["adam"](rest.parameters())
    return fit(trainee, inputs, params, optimizer=optimizer)


def test_frozen_layers_see_each_image_once_however_many_epochs(blobs: ImageData) -> None:
    frozen, rest = parts()
    seen: list[int] = []
    frozen.register_forward_hook(lambda _layer, inputs, _output: seen.append(len(inputs[0])))
    for layer in frozen:
        layer.register_forward_hook(lambda _layer, inputs, _output: seen.append(len(inputs[0])))
    trained(frozen, rest, blobs)
    of_size = 1  # one image, to learn how large what they say is
    once = of_size + len(blobs.train) + len(blobs.validation)
    assert sum(seen) == once * (1 + len(frozen))


def test_training_is_the_same_as_on_the_images(
    blobs: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen, rest = parts()
    before = copy.deepcopy(frozen.state_dict()), copy.deepcopy(rest.state_dict())
    cached = trained(frozen, rest, blobs)
    torch.testing.assert_close(frozen.state_dict(), before[0])
    assert any(
        (now != was).any()
        for now, was in zip(rest.state_dict().values(), before[1].values(), strict=True)
    )

    monkeypatch.setattr(features, "LARGEST_CACHE", 0)  # as if there were too little memory
    frozen, rest = parts()
    whole = trained(frozen, rest, blobs)
    for one, other in zip(without_times(cached), without_times(whole), strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    torch.testing.assert_close(frozen.state_dict(), before[0])


def test_where_nothing_is_frozen_all_is_trained_on_the_data(blobs: ImageData) -> None:
    network = small_network()
    trainee, inputs = skip_frozen(network[:0], network, blobs, "cpu")
    assert inputs is blobs
    assert list(trainee.parameters()) == list(network.parameters())
