import numpy as np
import pandas as pd
import pytest
import torch
from torchvision.ops import roi_align

from trackml.models.faster_rcnn import RegionPooling, faster_rcnn, predict


@pytest.mark.parametrize("shape", [(0, 64, 64), (1, 64, 64), (2, 45, 71), (1, 8, 8), (1, 200, 60)])
def test_images_of_any_size_get_a_table_of_the_same_columns(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    pixels = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    table = predict(faster_rcnn(10), pixels)
    assert {name: str(kind) for name, kind in table.dtypes.items()} == {
        "image": "int64",
        **dict.fromkeys(("x1", "y1", "x2", "y2"), "float32"),
        "label": "int64",
        "score": "float32",
    }
    assert table["image"].isin(range(shape[0])).all()
    assert table["label"].isin(range(10)).all()
    assert (table[["x1", "y1"]] >= 0).all().all()
    assert (table["x2"] <= shape[2]).all()
    assert (table["y2"] <= shape[1]).all()


@pytest.mark.parametrize(("height", "width"), [(16, 16), (9, 23), (2, 40)])
def test_regions_and_their_gradients_are_those_of_roi_align(height: int, width: int) -> None:
    random = torch.Generator().manual_seed(0)
    features = torch.randn(3, 64, height, width, generator=random, requires_grad=True)
    # From 5 pixels on, as `roi_align` makes narrower ones 4 pixels wide.
    most = torch.tensor([4.0 * width, 4.0 * height])
    regions = []
    for count in (5, 0, 2):
        near = torch.rand(count, 2, generator=random) * (most - 5)
        far = near + 5 + torch.rand(count, 2, generator=random) * (most - near - 5)
        regions.append(torch.cat([near, far], dim=1))
    ways = RegionPooling()({"0": features}, regions, None), roi_align(features, regions, 7, 0.25, 1)
    assert ways[0].shape == (7, 64, 7, 7)
    torch.testing.assert_close(*ways, rtol=1e-4, atol=1e-4)
    weights = torch.randn(ways[0].shape, generator=random)
    gradients = [torch.autograd.grad(way, features, weights)[0] for way in ways]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


def test_no_regions_are_no_features() -> None:
    none = [torch.zeros(0, 4)] * 2
    assert RegionPooling()({"0": torch.zeros(2, 64, 9, 9)}, none, None).shape == (0, 64, 7, 7)


def test_answers_do_not_depend_on_the_default_dtype() -> None:
    torch.manual_seed(0)
    network, pixels = faster_rcnn(10), np.full((2, 64, 64), 100, np.uint8)
    usual = predict(network, pixels)
    assert len(usual)
    torch.set_default_dtype(torch.float64)
    try:
        pd.testing.assert_frame_equal(predict(network, pixels), usual)
    finally:
        torch.set_default_dtype(torch.float32)
