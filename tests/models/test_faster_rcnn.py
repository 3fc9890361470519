import numpy as np
import pytest
import torch

from trackml.models.faster_rcnn import faster_rcnn, predict


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
