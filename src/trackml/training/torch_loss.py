"""The training losses of PyTorch networks."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from trackml.training.objectives import REGRESSION
from trackml.training.options import FitSettings


class Loss:
    """The loss of an objective, with its options, as the mean over rows on a device."""

    def __init__(self, settings: FitSettings, device: str) -> None:
        self._metric, self._smoothing = str(settings.objective.metric), settings.label_smoothing
        self._is_regression = settings.objective.name == REGRESSION.name
        weights = settings.class_weights
        self._weights = None if weights is None else torch.tensor(weights, device=device)

    def __call__(
        self, outputs: Tensor, targets: Tensor, mixture: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """The loss of float32 outputs (N, ...) for targets (N,).

        Args:
            mixture: the other target in each row's mixture, and the share of its own: (N,) each.
        """
        if self._is_regression:
            return mse_loss(outputs.flatten(), targets)
        if self._weights is None and mixture is None:
            return cross_entropy(outputs, targets, label_smoothing=self._smoothing)
        losses = self._of_rows(outputs, targets)
        # Not its own weights, which divide by their sum: batches would not add up to an epoch.
        weights = None if self._weights is None else self._weights[targets]
        if mixture is not None:
            others, shares = mixture
            losses = shares * losses + (1 - shares) * self._of_rows(outputs, others)
            if self._weights is not None and weights is not None:
                weights = shares * weights + (1 - shares) * self._weights[others]
        return (losses if weights is None else losses * weights).mean()

    def _of_rows(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(outputs, targets, reduction="none", label_smoothing=self._smoothing)

    def scores(
        self, outputs: Tensor, targets: Tensor, mixture: tuple[Tensor, Tensor] | None = None
    ) -> dict[str, float]:
        """The loss and the objective's metric."""
        if self._is_regression:
            score = (outputs.flatten() - targets).abs().double().mean()
        else:
            score = (outputs.argmax(dim=1) == targets).double().mean()
        return {"loss": float(self(outputs, targets, mixture)), self._metric: float(score)}
