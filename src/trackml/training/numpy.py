"""Training dense networks in NumPy: epochs of stochastic gradient descent over arrays."""

from collections.abc import Mapping, Sequence

import numpy as np

from trackml.backends import standard_settings
from trackml.data import ImageData, ImageSplit
from trackml.history import History
from trackml.metrics import ACCURACY, score_classes
from trackml.models import mlp
from trackml.models.mlp import Array, Network
from trackml.params import TrainingParams
from trackml.training.backpropagation import Gradients, backpropagate, cross_entropy
from trackml.training.loop import Learner, Rate, TrainingRun, by_split, run_epochs


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
    patience: int = 0,
    target_loss: float = 0.0,
    run: TrainingRun | None = None,
) -> History:
    """Train a network, and leave the weights of its best epoch in it.

    The history begins with the metrics of the untrained network, as epoch 0.

    Args:
        optimizer: of this network; its rate is `params.learning_rate`.
        weight_decay: as in `backpropagate`.
        patience, target_loss, run: as in `run_epochs`, which raises the same errors.
    """
    learner = _NumpyLearner(network, data, params.batch_size, optimizer, weight_decay)
    initial = by_split(learner.score(data.train), learner.validate())
    return run_epochs(
        learner, params, initial=initial, patience=patience, target_loss=target_loss, run=run
    )


class _NumpyLearner(Learner):
    metric, precision, device = ACCURACY, "float32", "cpu"

    def __init__(
        self, network: Network, data: ImageData, batch_size: int, optimizer: SGD, decay: float
    ) -> None:
        self._network, self._optimizer = network, optimizer
        self._batch_size, self._weight_decay = batch_size, decay
        self._x, self._target = mlp.scaled(data.train.images), data.train.labels
        self._validation = data.validation
        self.samples = len(self._target)

    def train_epoch(self, rate: Rate, random: np.random.Generator) -> Mapping[str, float]:
        order = random.permutation(self.samples)
        scores = np.empty((self.samples, len(self._network[-1].b)), np.float32)
        # An overflow needs no warning here: it makes the loss or a weight non-finite.
        with np.errstate(over="ignore", invalid="ignore"):
            for first in range(0, self.samples, self._batch_size):
                rows = order[first : first + self._batch_size]
                scores[first : first + self._batch_size], gradients = backpropagate(
                    self._network, self._x[rows], self._target[rows], self._weight_decay
                )
                self._optimizer.step(gradients, rate(first / self.samples))
            target = self._target[order]
            return {
                "loss": float(cross_entropy(scores, target).mean(dtype=np.float64)),
                "accuracy": float((scores.argmax(axis=1) == target).mean()),
            }

    def validate(self) -> Mapping[str, float]:
        return self.score(self._validation)

    def score(self, split: ImageSplit) -> Mapping[str, float]:
        return score_classes(mlp.predict(self._network, split.images), split.labels)

    def get_weights(self) -> list[Array]:
        return [w.copy() for w in mlp.arrays(self._network).values()]

    def set_weights(self, weights: Sequence[Array]) -> None:
        for w, value in zip(mlp.arrays(self._network).values(), weights, strict=True):
            w[:] = value

    def get_state(self) -> Mapping[str, Array]:
        return {name: array.copy() for name, array in self._arrays.items()}

    def set_state(self, state: Mapping[str, Array]) -> None:
        for name, array in self._arrays.items():
            array[:] = state[name]

    @property
    def _arrays(self) -> dict[str, Array]:
        velocities = {f"v{number}": v for number, v in enumerate(self._optimizer.velocities)}
        return mlp.arrays(self._network) | velocities
