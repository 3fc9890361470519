"""What a detector found, against what is there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import box_iou

from trackml.data.canvases import Canvases, Objects

SURE = 0.5  # the score from which a detection counts, where one must say yes or no
OVERLAP = 0.5  # intersection over union from which a detection is of an object


@dataclass(frozen=True)
class Outcome:
    """One image: the objects on it, those that were found for sure.

    Attributes:
        overlaps: float32 (objects, found), intersection over union.
    """

    objects: Objects
    found: Objects
    overlaps: NDArray[np.float32]

    @property
    def missed(self) -> NDArray[np.bool_]:
        """Of each object, whether nothing that was found fits it."""
        return np.logical_not(self._fits.any(axis=1))

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Of each that was found, whether it fits no object."""
        return np.logical_not(self._fits.any(axis=0))

    @property
    def severity(self) -> float:
        """How bad it is: 1 for each object that was missed, the score of each wrong find."""
        return float(self.missed.sum() + self.found.scores[self.wrong].sum())

    @property
    def _fits(self) -> NDArray[np.bool_]:
        same: NDArray[np.bool_] = self.objects.labels[:, np.newaxis] == self.found.labels
        return same & (self.overlaps >= OVERLAP)


def match(found: Objects, canvases: Canvases) -> list[Outcome]:
    """The outcome for each canvas, with what was found there with a score of SURE or more."""
    count = len(canvases)
    sure = found.at(found.scores >= SURE)
    return [
        Outcome(objects, said, _overlaps(objects, said))
        for objects, said in zip(
            canvases.objects.per_image(count), sure.per_image(count), strict=True
        )
    ]


def _overlaps(objects: Objects, found: Objects) -> NDArray[np.float32]:
    pairs = box_iou(torch.tensor(objects.boxes), torch.tensor(found.boxes))
    overlaps: NDArray[np.float32] = pairs.numpy()
    return overlaps


def mean_iou(outcomes: Sequence[Outcome]) -> float:
    """The mean over all objects of their best overlap with what was found, 0 if nothing was.

    Whether the class is right does not matter.
    """
    best = [outcome.overlaps.max(axis=1, initial=0) for outcome in outcomes]
    return float(np.concatenate(best).mean())
