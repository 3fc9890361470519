"""Faster R-CNN (Ren et al., 2015) for small objects on gray images.

A copy of this file travels with each registered detector, so that it loads where trackml is not
installed: it imports nothing of trackml, and has the `restore` and `predict` of served/model.py.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import grid_sample, pad
from torch.nn.utils.rnn import pad_sequence
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import AnchorGenerator, RegionProposalNetwork, RPNHead

STRIDE = 4  # pixels per cell of the feature map
CHANNELS = 64
REGION_CELLS = 7  # side of the grid into which a region is pooled
HIDDEN_UNITS = 128
ANCHOR_SIDES = (14, 20, 28)  # pixels, of squares of the same area: torchvision starts at 32
ANCHOR_RATIOS = (1.0, 1.5, 2.5)  # height by width: a one is narrow
MIN_SCORE = 0.05
MAX_OVERLAP = 0.5  # of two boxes of one class; above it, the one with the lower score is dropped
MAX_BATCH_IMAGES, MAX_BATCH_PIXELS = 64, 2**22  # to predict: 0.3 GB of features


class Pixels(nn.Module):
    """Scale and pad raw pixels. torchvision's own would resize all images to about 800 pixels."""

    def forward(
        self, images: Tensor, targets: list[dict[str, Tensor]] | None
    ) -> tuple[ImageList, list[dict[str, Tensor]] | None]:
        count, height, width = images.shape
        x = images.unsqueeze(1).float() / 255  # (N, 1, H, W)
        x = pad(x, (0, -width % STRIDE, 0, -height % STRIDE))
        x = x.contiguous(memory_format=torch.channels_last)
        return ImageList(x, [(height, width)] * count), targets

    def postprocess(self, detections: Any, *_sizes: Any) -> Any:
        return detections


class RegionPooling(nn.Module):
    """The features at the centers of a region's cells: (R, CHANNELS, REGION_CELLS, REGION_CELLS).

    As torchvision's `roi_align` with one sample in each cell: more are slow and hardly better. But
    it widens regions below STRIDE pixels, and its gradient takes six times as long on a CPU.
    torchvision's own pooling estimates the stride from the first images, and can be wrong.
    """

    def forward(
        self, features: Mapping[str, Tensor], regions: list[Tensor], _sizes: object
    ) -> Tensor:
        x = features["0"].float()  # (N, C, H, W)
        counts = torch.tensor([len(boxes) for boxes in regions], device=x.device)
        boxes = pad_sequence([each.float() for each in regions], batch_first=True) / STRIDE
        corners = boxes.view(len(boxes), -1, 2, 2)  # (N, most regions, 2 corners, x and y)
        top_left, bottom_right = corners.unsqueeze(-1).unbind(2)
        cells = (torch.arange(REGION_CELLS, dtype=x.dtype, device=x.device) + 0.5) / REGION_CELLS
        points = top_left + (bottom_right - top_left) * cells  # (N, most, x and y, CELLS)
        last_cell = torch.tensor(x.shape[:1:-1], device=x.device) - 1  # of a row, of a column
        columns, rows = (points * 2 / last_cell.clamp(min=1).unsqueeze(-1) - 1).unbind(2)  # -1 to 1
        shape = *rows.shape, REGION_CELLS
        across, down = columns.unsqueeze(2).expand(shape), rows.unsqueeze(3).expand(shape)
        grid = torch.stack([across, down], dim=-1).flatten(1, 2)  # (N, most * CELLS, CELLS, 2)
        pooled = grid_sample(x, grid, padding_mode="border", align_corners=True)
        of_regions = pooled.view(*x.shape[:2], -1, REGION_CELLS, REGION_CELLS).transpose(1, 2)
        is_region = torch.arange(boxes.shape[1], device=x.device) < counts.unsqueeze(1)
        return of_regions[is_region]


def faster_rcnn(classes: int) -> GeneralizedRCNN:
    """A detector of gray images, uint8 (N, H, W), raw pixels, with outputs as torchvision's.

    There, label 0 is the background, and our class C has the label C + 1.
    """
    anchors = AnchorGenerator((ANCHOR_SIDES,), (ANCHOR_RATIOS,))
    backbone = nn.Sequential(  # (N, 1, H, W) → (N, CHANNELS, H / STRIDE, W / STRIDE)
        *_convolution(1, 16, kernel_size=5, stride=2),
        *_convolution(16, 32, stride=2),
        *_convolution(32, CHANNELS),
        *_convolution(CHANNELS, CHANNELS),
    )
    proposals = RegionProposalNetwork(
        anchors,
        RPNHead(CHANNELS, anchors.num_anchors_per_location()[0]),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=32,
        positive_fraction=0.5,
        pre_nms_top_n={"training": 100, "testing": 100},
        post_nms_top_n={"training": 30, "testing": 20},
        nms_thresh=0.7,
    )
    regions = RoIHeads(
        RegionPooling(),
        TwoMLPHead(CHANNELS * REGION_CELLS**2, HIDDEN_UNITS),
        FastRCNNPredictor(HIDDEN_UNITS, classes + 1),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=16,
        positive_fraction=0.5,
        bbox_reg_weights=None,
        score_thresh=MIN_SCORE,
        nms_thresh=MAX_OVERLAP,
        detections_per_img=20,
    )
    # Of float32, whatever the default of the program is that loads it.
    return GeneralizedRCNN(backbone, proposals, regions, Pixels()).float()


def _convolution(
    inputs: int, outputs: int, *, kernel_size: int = 3, stride: int = 1
) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel_size, stride, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


def restore(weights: Mapping[str, NDArray[Any]]) -> GeneralizedRCNN:
    """The network with this state dict."""
    state = {name: torch.from_numpy(value) for name, value in weights.items()}
    with torch.device("cpu"):
        network = faster_rcnn(classes=len(state["roi_heads.box_predictor.cls_score.bias"]) - 1)
    network.load_state_dict(state)
    return network


def predict(network: GeneralizedRCNN, images: NDArray[np.uint8]) -> pd.DataFrame:
    """The objects in images, uint8 (N, H, W), raw pixels. The network is then in evaluation mode.

    Returns:
        A row per object, sorted by image, then by descending score: image (index), x1, y1, x2, y2
        (pixels from the top left corner), label (index of the class), score (from 0 to 1).
    """
    device = next(network.parameters()).device
    size = max(1, min(MAX_BATCH_IMAGES, MAX_BATCH_PIXELS // max(1, math.prod(images.shape[1:]))))
    network.eval()
    outputs: list[dict[str, Tensor]] = []
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        for first in range(0, len(images), size):
            # PyTorch does not support negative strides, such as those of a flipped image.
            batch = np.ascontiguousarray(images[first : first + size])
            outputs += network(torch.tensor(batch, device=device))
    none = {"boxes": torch.zeros((0, 4)), "labels": torch.zeros(0), "scores": torch.zeros(0)}
    boxes, labels, scores = (
        torch.cat([each[name] for each in outputs or [none]]).cpu().numpy() for name in none
    )
    table = pd.DataFrame(boxes, columns=["x1", "y1", "x2", "y2"], dtype=np.float32)
    image = np.repeat(np.arange(len(outputs)), [len(each["scores"]) for each in outputs])
    table.insert(0, "image", image.astype(np.int64))
    return table.assign(label=labels.astype(np.int64) - 1, score=scores)
