"""Training dense networks in NumPy: epochs of stochastic gradient descent over arrays."""

from collections.abc import Mapping, Sequence
from typing import Unpack

import numpy as np

from trackml.backends import standard_settings
from trackml.data import ImageData, ImageSplit
from trackml.history import History
from trackml.models import mlp
from trackml.models.mlp import Array, Network
from trackml.params import TrainingParams
from trackml.training.augmentation import draw, partners
from trackml.training.averages import Average
from trackml.training.backpropagation import (
    Gradients,
    backpropagate,
    cross_entropy,
    targets_of,
)
from trackml.training.loop import Learner, Rate, by_split, loop_options, run_epochs
from trackml.training.numpy_images import change
from trackml.training.objectives import CLASSIFICATION
from trackml.training.options import FitOptions, FitSettings


class SGD:
    """Stochastic gradient descent with momentum, as Sutskever et al. (2013) and PyTorch define it.

    For each array w of weights: v becomes momentum * v + dw, then w becomes w - rate * v.
    """

    def __init__(self, network: Network, momentum: float = 0.0) -> None:
        self._momentum = momentum
        self._weights = list(mlp.arrays(network).values())
        self.velocities = [np.zeros_like(w) for w in self._weights]

    def step(self, gradients: Gradients, rate: float) -> None:
        """Change the network's weights in place."""
        each = mlp.arrays(gradients).values()
        for w, v, dw in zip(self._weights, self.velocities, each, strict=True):
            v[...] = self._momentum * v + dw
            w[...] -= rate * v


@standard_settings()
def fit(
    network: Network,
    data: ImageData,
    params: TrainingParams,
    *,
    optimizer: SGD,
    weight_decay: float = 0.0,
    **options: Unpack[FitOptions],
) -> History:
    """Train a classifier, and leave the weights of its best epoch in it.

    The history begins with the metrics of the untrained network, as epoch 0.

    Args:
        optimizer: of this network; its rate is `params.learning_rate` times the schedule.
        weight_decay: as in `backpropagate`.
        options: those of `FitOptions`.

    Raises:
        TypeError: there is no such option.
        ValueError: the value of an option is not allowed; the objective is a regression.
        NonFiniteLoss: as `run_epochs` has it.
    """
    settings = FitSettings.of_data(options, data)
    if settings.objective.name != CLASSIFICATION.name:
        raise ValueError(
            "objective: a network in NumPy is a classifier. "
            f"Received: the objective {settings.objective.name}; use Keras or PyTorch for it"
        )
    learner = _NumpyLearner(network, data, params.batch_size, optimizer, weight_decay, settings)
    initial = by_split(learner.score(data.train), learner.validate())
    return run_epochs(learner, params, initial=initial, **loop_options(options))


def _approach(averages: Sequence[Array], weights: Sequence[Array], share: float) -> None:
    for average, weight in zip(averages, weights, strict=True):
        average[...] += share * (weight - average)


class _NumpyLearner(Learner):
    precision, device = "float32", "cpu"

    def __init__(
        self,
        network: Network,
        data: ImageData,
        batch_size: int,
        optimizer: SGD,
        weight_decay: float,
        settings: FitSettings,
    ) -> None:
        self.model = self._network = network
        self.metric, self.metrics, self._settings = settings.metric, settings.metrics, settings
        self._optimizer, self._batch_size, self._weight_decay = optimizer, batch_size, weight_decay
        weights = list(mlp.arrays(network).values())
        self._average = Average(weights, settings.ema_decay, np.copy, _approach)
        self._images, self._labels = data.train.arrays
        self._x = mlp.scaled(self._images)
        self._validation = data.validation
        self.samples = len(self._labels)

    def train_epoch(self, rate: Rate, random: np.random.Generator) -> Mapping[str, float]:
        order = random.permutation(self.samples)
        changes = draw(self._settings.augment, self.samples, self._images.shape[1:], random)
        y, row_weights = self._targets_of(order, changes.shares)
        self._average.swap()
        scores = np.empty_like(y)
        # An overflow needs no warning here: it makes the loss or a weight non-finite.
        with np.errstate(over="ignore", invalid="ignore"):
            for first in range(0, self.samples, self._batch_size):
                batch = slice(first, first + self._batch_size)
                rows = order[batch]
                scores[batch], gradients = backpropagate(
                    self._network,
                    self._x[rows]
                    if self._settings.augment is None
                    else mlp.scaled(change(self._images[rows], changes[batch])),
                    y[batch],
                    self._weight_decay,
                    row_weights=None if row_weights is None else row_weights[batch],
                    clip_norm=self._settings.clip_norm,
                )
                self._optimizer.step(gradients, rate(first / self.samples))
                self._average.update()
            self._average.swap()
            losses = cross_entropy(scores, y)
            if row_weights is not None:
                losses *= row_weights
            score = (scores.argmax(axis=1) == self._labels[order]).mean()
            metric = str(self._settings.objective.metric)
            return {"loss": float(losses.mean(dtype=np.float64)), metric: float(score)}

    def _targets_of(self, order: Array, shares: Array | None) -> tuple[Array, Array | None]:
        """The targets (N, C) and the weights (N,) of rows in this order."""
        labels, class_weights = self._labels[order], self._settings.class_weights
        classes = len(self._network[-1].b)
        y = targets_of(labels, classes, self._settings.label_smoothing)
        weights = None if class_weights is None else class_weights[labels]
        if shares is not None:
            others = partners(len(order), self._batch_size)
            y = shares[:, np.newaxis] * y + (1 - shares[:, np.newaxis]) * y[others]
            if weights is not None:
                weights = shares * weights + (1 - shares) * weights[others]
        return y, weights

    def validate(self) -> Mapping[str, float]:
        return self.score(self._validation)

    def score(self, split: ImageSplit) -> Mapping[str, float]:
        self.answers = mlp.predict(self._network, split.images)
        return self._settings.scores(self.answers, split.labels)

    def get_weights(self) -> list[Array]:
        return [w.copy() for w in mlp.arrays(self._network).values()]

    def set_weights(self, weights: Sequence[Array]) -> None:
        for w, value in zip(mlp.arrays(self._network).values(), weights, strict=True):
            w[:] = value

    def get_state(self) -> Mapping[str, Array]:
        steps = {"steps": np.array(self._average.steps)}
        return {name: array.copy() for name, array in self._arrays.items()} | steps

    def set_state(self, state: Mapping[str, Array]) -> None:
        for name, array in self._arrays.items():
            array[:] = state[name]
        self._average.steps = int(state["steps"])

    @property
    def _arrays(self) -> dict[str, Array]:
        velocities = {f"v{number}": v for number, v in enumerate(self._optimizer.velocities)}
        trained = {f"w{number}": w for number, w in enumerate(self._average.others)}
        return mlp.arrays(self._network) | velocities | trained
