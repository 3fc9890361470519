"""Training Faster R-CNN: batches of canvases, four losses, mean average precision."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Unpack

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

from trackml.backends import standard_settings
from trackml.data.canvases import Canvases, DetectionData, Objects
from trackml.evaluation.detection import mean_average_precision
from trackml.history import History
from trackml.metrics import MAP
from trackml.models import faster_rcnn
from trackml.params import TorchParams
from trackml.training.loop import Rate, loop_options, run_epochs
from trackml.training.options import StepOptions, StepSettings
from trackml.training.torch import TorchLearner

VALIDATION_SEED = 0  # of the regions that are sampled for the validation loss


@standard_settings()
def fit_detector(
    network: GeneralizedRCNN,
    data: DetectionData,
    params: TorchParams,
    *,
    optimizer: Optimizer,
    fresh: bool = False,
    **options: Unpack[StepOptions],
) -> History:
    """Train a detector, and leave the weights of its best epoch in it, on `params.device`.

    Arguments and errors are those of `trackml.training.torch.fit`, without the options that only
    classifiers and regressions have. Each row of the history has
    `val_map`, the mean average precision, and for both splits the losses of torchvision's Faster
    R-CNN: `loss_objectness` and `loss_rpn_box_reg` of the proposals, `loss_classifier` and
    `loss_box_reg` of the regions, and `loss`, their sum.

    Args:
        fresh: train on other canvases in each epoch, with the same digits.

    Raises:
        ValueError: the data has nothing to compose fresh canvases of.
    """
    import torchmetrics.detection  # noqa: F401  # no epoch is to wait for it, or to fail by it

    if fresh and data.compose is None:
        raise ValueError(f"fresh: {data.name} cannot compose other canvases")
    compose = data.compose if fresh else None
    learner = _DetectionLearner(network, data, params, optimizer, StepSettings.of(options), compose)
    return run_epochs(learner, params, **loop_options(options))


def find_objects(network: GeneralizedRCNN, canvases: Canvases) -> Objects:
    """The objects that a network detects. It ends in evaluation mode."""
    table = faster_rcnn.predict(network, canvases.images)
    columns = ("image", ["x1", "y1", "x2", "y2"], "label", "score")
    return Objects(*(table[column].to_numpy() for column in columns))


class _DetectionLearner(TorchLearner):
    metric = MAP

    def __init__(
        self,
        network: nn.Module,
        data: DetectionData,
        params: TorchParams,
        optimizer: Optimizer,
        settings: StepSettings,
        compose: Callable[[np.random.Generator], Canvases] | None,
    ) -> None:
        super().__init__(network, params, optimizer, settings)
        self.samples = len(data.train)
        self._validation = data.validation
        self._compose = compose
        self._take(data.train)
        self._validation_targets = _targets(data.validation, self.device)

    def _take(self, canvases: Canvases) -> None:
        self._images = torch.tensor(canvases.images, device=self.device)
        self._targets = _targets(canvases, self.device)

    def train_epoch(self, rate: Rate, random: np.random.Generator) -> Mapping[str, float]:
        torch.manual_seed(int(random.integers(2**63)))  # for the regions that are sampled
        if self._compose:
            self._take(self._compose(random))
        order = random.permutation(self.samples)
        self.network.train()
        self.average.swap()
        sums: Counter[str] = Counter()
        for first in range(0, self.samples, self.batch_size):
            rows = order[first : first + self.batch_size]
            with self.autocast:
                losses = self.network(self._images[rows], [self._targets[row] for row in rows])
            loss = torch.stack([each.float() for each in losses.values()]).sum()
            self.step(loss, rate(first / self.samples))
            sums.update(_times(len(rows), losses))
        self.average.swap()
        return _means(sums, self.samples)

    def validate(self) -> Mapping[str, float]:
        canvases = self._validation
        self.answers = find_objects(self.network, canvases)
        torch.manual_seed(VALIDATION_SEED)
        self.network.train()  # torchvision's networks return losses in this mode only
        self.network.get_submodule("backbone").eval()  # keeps the statistics of batch norm
        sums: Counter[str] = Counter()
        with torch.no_grad():
            for first in range(0, len(canvases), self.batch_size):
                rows = slice(first, first + self.batch_size)
                batch = torch.tensor(canvases.images[rows], device=self.device)
                losses = self.network(batch, self._validation_targets[rows])
                sums.update(_times(len(batch), losses))
        precision = mean_average_precision(self.answers, canvases)["map"]
        return _means(sums, len(canvases)) | {"map": precision}


def _targets(canvases: Canvases, device: str) -> list[dict[str, Tensor]]:
    """torchvision's targets of each canvas, in which label 0 is the background."""
    return [
        {
            "boxes": torch.tensor(each.boxes, device=device),
            "labels": torch.tensor(each.labels + 1, device=device),
        }
        for each in canvases.objects.per_image(len(canvases))
    ]


def _times(count: int, losses: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: loss.item() * count for name, loss in losses.items()}


def _means(sums: Mapping[str, float], count: int) -> dict[str, float]:
    """The losses per sample, after "loss", their sum."""
    return {name: total / count for name, total in {"loss": sum(sums.values()), **sums}.items()}
