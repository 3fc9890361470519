"""Outputs of frozen layers are computed once, and training on them is the same training."""

import copy

import pytest
import torch
from torch import nn

from tests.pipelines.expected import without_times
from tests.training.examples import parameters, small_network
from trackml.backends import seed_everything
from trackml.data import ImageData
from trackml.history import History
from trackml.training import frozen_features
from trackml.training.frozen_features import precompute
from trackml.training.torch import OPTIMIZERS, fit


def parts() -> tuple[nn.Sequential, nn.Sequential]:
    seed_everything(0)
    network = small_network()
    return network[:2].requires_grad_(requires_grad=False), network[2:]


def train(frozen: nn.Sequential, trained: nn.Sequential, data: ImageData) -> History:
    module, inputs = precompute(frozen, trained, data, "cpu")
    optimizer = OPTIMIZERS["adam"](trained.parameters())
    return fit(module, inputs, parameters("torch", epochs=4), optimizer=optimizer)


def test_frozen_layers_get_each_image_once_for_all_epochs(blobs: ImageData) -> None:
    frozen, trained = parts()
    batch_sizes: list[int] = []
    for layer in (frozen, *frozen):
        layer.register_forward_hook(lambda _layer, x, _output: batch_sizes.append(len(x[0])))
    train(frozen, trained, blobs)
    single = 1 + 3  # to measure the size of its output, and before each of three calls that of all
    images = single + len(blobs.train) + len(blobs.validation)
    assert sum(batch_sizes) == images * (1 + len(frozen))


def test_training_is_the_same_as_on_the_images(
    blobs: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen, trained = parts()
    frozen_before, before = copy.deepcopy((frozen.state_dict(), trained.state_dict()))
    cached = train(frozen, trained, blobs)
    torch.testing.assert_close(frozen.state_dict(), frozen_before)
    last = list(before)[-1]
    assert not torch.equal(trained.state_dict()[last], before[last])

    monkeypatch.setattr(frozen_features, "MAX_CACHE_BYTES", 0)  # as if memory were too small
    frozen, trained = parts()
    whole = train(frozen, trained, blobs)
    for one, other in zip(without_times(cached), without_times(whole), strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    torch.testing.assert_close(frozen.state_dict(), frozen_before)


def test_without_frozen_layers_the_network_is_trained_on_the_data(blobs: ImageData) -> None:
    network = small_network()
    module, inputs = precompute(network[:0], network, blobs, "cpu")
    assert inputs is blobs
    assert list(module.parameters()) == list(network.parameters())
