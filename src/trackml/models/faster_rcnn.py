"""Faster R-CNN (Ren et al., 2015) for small objects on grey images.

A copy of this file travels with each registered detector, so that it loads where trackml is not
installed: it imports nothing of trackml, and has the `restore` and `predict` of served/model.py.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import AnchorGenerator, RegionProposalNetwork, RPNHead
from torchvision.ops import roi_align

STRIDE = 4  # pixels per cell of the feature map
CHANNELS = 64
REGION_CELLS = 7  # a region is looked at as so many cells squared
SAMPLES = 1  # of the feature map in each cell, squared: more cost much and give little
HIDDEN_UNITS = 128
ANCHOR_SIDES = (14, 20, 28)  # pixels, of squares of the same area: torchvision starts at 32
ANCHOR_RATIOS = (1.0, 1.5, 2.5)  # height by width: a one is narrow
LEAST_SCORE = 0.05
OVERLAP = 0.5  # of two boxes of one class that are taken for the same object
BATCH = 64  # images at a time, to detect


class Pixels(nn.Module):
    """The first and the last step: raw pixels to what the backbone takes, and boxes as they are.

    torchvision's own would resize every image to about 800 pixels.
    """

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
    """Features of regions: (R, CHANNELS, REGION_CELLS, REGION_CELLS).

    torchvision's own finds out the stride from the first images that it sees, and can be wrong.
    """

    def forward(
        self, features: Mapping[str, Tensor], regions: list[Tensor], _sizes: object
    ) -> Tensor:
        pooled: Tensor = roi_align(features["0"], regions, REGION_CELLS, 1 / STRIDE, SAMPLES)
        return pooled


def faster_rcnn(classes: int) -> GeneralizedRCNN:
    """Takes uint8 (N, H, W), raw pixels, as a tensor; answers as torchvision's models do.

    There, 0 is the label of the background, and class C of ours has the label C + 1.
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
        score_thresh=LEAST_SCORE,
        nms_thresh=OVERLAP,
        detections_per_img=20,
    )
    return GeneralizedRCNN(backbone, proposals, regions, Pixels())


def _convolution(
    inputs: int, outputs: int, *, kernel_size: int = 3, stride: int = 1
) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel_size, stride, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


def restore(weights: Mapping[str, NDArray[Any]]) -> GeneralizedRCNN:
    """The network that had these values in its state dict."""
    state = {name: torch.from_numpy(value) for name, value in weights.items()}
    network = faster_rcnn(classes=len(state["roi_heads.box_predictor.cls_score.bias"]) - 1)
    network.load_state_dict(state)
    return network


def predict(network: GeneralizedRCNN, images: NDArray[np.uint8]) -> pd.DataFrame:
    """What the network finds on images, uint8 (N, H, W), raw pixels. It ends in evaluation mode.

    Returns:
        A row per object, those of an image together, the surest first: image (index), x1, y1, x2,
        y2 (pixels from the top left corner), label (index of the class), score (from 0 to 1).
    """
    device = next(network.parameters()).device
    network.eval()
    found: list[dict[str, Tensor]] = []
    with torch.inference_mode():
        for first in range(0, len(images), BATCH):
            # PyTorch knows no rows of memory in reverse, such as those of a flipped image.
            batch = np.ascontiguousarray(images[first : first + BATCH])
            found += network(torch.tensor(batch, device=device))
    none = {"boxes": torch.zeros((0, 4)), "labels": torch.zeros(0), "scores": torch.zeros(0)}
    boxes, labels, scores = (
        torch.cat([each[name] for each in found or [none]]).cpu().numpy() for name in none
    )
    table = pd.DataFrame(boxes, columns=["x1", "y1", "x2", "y2"], dtype=np.float32)
    image = np.repeat(np.arange(len(found)), [len(each["scores"]) for each in found])
    table.insert(0, "image", image.astype(np.int64))
    return table.assign(label=labels.astype(np.int64) - 1, score=scores)
