"""Training Faster R-CNN: batches of canvases, four losses, precision on validation."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

from trackml.data.canvases import Canvases, DetectionData, Objects
from trackml.evaluation.detection import mean_average_precision
from trackml.history import EpochHook, History, Metric
from trackml.models import faster_rcnn
from trackml.params import TorchParams
from trackml.training.loop import Rate, run_epochs
from trackml.training.schedules import Schedule, constant
from trackml.training.torch import TorchLearner

VALIDATION_SEED = 0  # of the regions that are drawn to take a loss from


def fit_detector(
    network: GeneralizedRCNN,
    data: DetectionData,
    params: TorchParams,
    *,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule = constant,
    hooks: Sequence[EpochHook | None] = (),
) -> History:
    """Train a detector, and leave in it, on its device, the weights of its best epoch.

    Each row of the history has the losses of torchvision's Faster R-CNN, for training and for
    validation: `loss`, their sum; `loss_objectness` and `loss_rpn_box_reg` of the proposals,
    `loss_classifier` and `loss_box_reg` of the regions; and `val_map`, the mean average precision.

    Args, Raises: as `trackml.training.torch.fit`.
    """
    learner = _DetectionLearner(network, data, params, optimizer)
    return run_epochs(learner, params, schedule=schedule, hooks=hooks)


def find_objects(network: GeneralizedRCNN, canvases: Canvases) -> Objects:
    """What a network finds on canvases. It ends in evaluation mode."""
    table = faster_rcnn.predict(network, canvases.images)
    return Objects(
        table["image"].to_numpy(),
        table[["x1", "y1", "x2", "y2"]].to_numpy(),
        table["label"].to_numpy(),
        table["score"].to_numpy(),
    )


class _DetectionLearner(TorchLearner):
    metric: Metric = "map"

    def __init__(
        self,
        network: GeneralizedRCNN,
        data: DetectionData,
        params: TorchParams,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        super().__init__(network, params, optimizer)
        self.samples = len(data.train)
        self._validation = data.validation
        self._images = torch.tensor(data.train.images, device=self.device)
        self._targets = _targets(data.train, self.device)
        self._validation_targets = _targets(data.validation, self.device)

    def train_epoch(self, rate: Rate, random: np.random.Generator) -> Mapping[str, float]:
        torch.manual_seed(int(random.integers(2**63)))  # of the regions that are drawn
        order = random.permutation(self.samples)
        self.network.train()
        sums: Counter[str] = Counter()
        for first in range(0, self.samples, self.batch_size):
            rows = order[first : first + self.batch_size]
            with self.autocast:
                losses = self.network(self._images[rows], [self._targets[row] for row in rows])
            loss = torch.stack([each.float() for each in losses.values()]).sum()
            self.step(loss, rate(first / self.samples))
            sums.update(_weighted(losses, len(rows)))
        return _means(sums, self.samples)

    def validate(self) -> Mapping[str, float]:
        found = find_objects(self.network, self._validation)
        precision = mean_average_precision(found, self._validation)["map"]
        return self._validation_losses() | {"map": precision}

    def _validation_losses(self) -> dict[str, float]:
        torch.manual_seed(VALIDATION_SEED)
        self.network.train()  # torchvision's networks tell their losses in no other mode
        self.network.get_submodule("backbone").eval()  # but what it has learnt of batches must stay
        images, count = self._validation.images, len(self._validation)
        sums: Counter[str] = Counter()
        with torch.no_grad():
            for first in range(0, count, self.batch_size):
                rows = slice(first, first + self.batch_size)
                batch = torch.tensor(images[rows], device=self.device)
                losses = self.network(batch, self._validation_targets[rows])
                sums.update(_weighted(losses, len(batch)))
        return _means(sums, count)


def _targets(canvases: Canvases, device: str) -> list[dict[str, Tensor]]:
    """What torchvision wants to know of each canvas. There, label 0 is the background."""
    return [
        {
            "boxes": torch.tensor(each.boxes, device=device),
            "labels": torch.tensor(each.labels + 1, device=device),
        }
        for each in canvases.objects.per_image(len(canvases))
    ]


def _weighted(losses: Mapping[str, Tensor], count: int) -> dict[str, float]:
    return {name: loss.item() * count for name, loss in losses.items()}


def _means(sums: Mapping[str, float], count: int) -> dict[str, float]:
    """The losses per sample; first, as "loss", their sum."""
    return {name: total / count for name, total in {"loss": sum(sums.values()), **sums}.items()}
