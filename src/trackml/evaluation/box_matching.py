"""Match the boxes that a detector returned with the objects that are there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import box_iou

from trackml.data.canvases import Canvases, Objects

MIN_SCORE = 0.5  # a detection with a lower score does not count
MIN_IOU = 0.5  # a detection with a lower overlap does not match the object


@dataclass(frozen=True)
class ImageMatches:
    """The objects on one image, and the detections with a score of at least MIN_SCORE.

    Attributes:
        iou: float32 (objects, detections), intersection over union.
    """

    objects: Objects
    detections: Objects
    iou: NDArray[np.float32]

    @property
    def missed(self) -> NDArray[np.bool_]:
        """(objects,): True if no detection matches."""
        return np.logical_not(self._matching.any(axis=1))

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """(detections,): True if it matches no object."""
        return np.logical_not(self._matching.any(axis=0))

    @property
    def severity(self) -> float:
        """1 for each missed object, plus the score of each wrong detection."""
        return float(self.missed.sum() + self.detections.scores[self.wrong].sum())

    @property
    def _matching(self) -> NDArray[np.bool_]:
        same: NDArray[np.bool_] = self.objects.labels[:, np.newaxis] == self.detections.labels
        return same & (self.iou >= MIN_IOU)


def match_boxes(detections: Objects, canvases: Canvases) -> list[ImageMatches]:
    """The matches on each canvas."""
    images = len(canvases)
    counted = detections.at(detections.scores >= MIN_SCORE).per_image(images)
    return [
        ImageMatches(objects, own, box_iou(*map(torch.tensor, (objects.boxes, own.boxes))).numpy())
        for objects, own in zip(canvases.objects.per_image(images), counted, strict=True)
    ]


def mean_iou(matches: Sequence[ImageMatches]) -> float:
    """The mean over all objects of their best overlap with a detection, of any class."""
    best = [each.iou.max(axis=1, initial=0) for each in matches]
    return float(np.concatenate(best).mean())
