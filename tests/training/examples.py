"""A small classifier of the images of `blobs` in each framework: 9 x 9 pixels, 3 classes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from tests.conftest import small_model
from trackml.backends import seed_everything
from trackml.data import ImageData
from trackml.history import History
from trackml.metrics import score_classes
from trackml.models import mlp
from trackml.models.mlp import Network
from trackml.models.numpy import dense_network
from trackml.models.torch import Standardize
from trackml.params import KerasParams, TorchParams, TrainingParams
from trackml.training import keras as in_keras, numpy as in_numpy, torch as in_torch
from trackml.training.checkpoint import Array
from trackml.training.options import FitOptions

FIT_OPTIONS = {"weight_decay", *FitOptions.__optional_keys__}


@dataclass(frozen=True)
class Trained:
    history: History
    model: Any
    weights: list[Array]
    predict: Callable[[Array], Array]

    def scores(self, split: Any) -> dict[str, float]:
        return score_classes(self.predict(split.images), split.labels)


def train(
    framework: str,
    data: ImageData,
    *,
    model: Any = None,
    optimizer: Any = "adam",
    dropout: float = 0.0,
    **values: Any,
) -> Trained:
    """Train a model, by default a new one; `values` are parameters, or options of `fit`."""
    options = {name: values.pop(name) for name in FIT_OPTIONS & values.keys()}
    params = parameters(framework, **values)
    seed_everything(params.seed)
    match framework:
        case "keras":
            model = model or small_model(dropout)
            made = in_keras.OPTIMIZERS[optimizer]()
            history = in_keras.fit(model, data, params, optimizer=made, **options)
            return Trained(history, model, model.get_weights(), in_keras.predictor(model))
        case "torch":
            model = model or small_network(dropout)
            torch_optimizer = in_torch.OPTIMIZERS[optimizer](model.parameters(), weight_decay=1e-4)
            history = in_torch.fit(model, data, params, optimizer=torch_optimizer, **options)
            weights = [value.numpy() for value in model.state_dict().values()]
            return Trained(history, model, weights, partial(in_torch.predict, model))
        case _:
            model = dense_classifier()
            sgd = in_numpy.SGD(model, momentum=0.9 if optimizer == "momentum" else 0.0)
            history = in_numpy.fit(model, data, params, optimizer=sgd, **options)
            weights = list(mlp.arrays(model).values())
            return Trained(history, model, weights, partial(mlp.predict, model))


def parameters(framework: str, **values: Any) -> Any:
    """Parameters with defaults that suit `blobs`."""
    values = {"epochs": 3, "batch_size": 16} | values
    match framework:
        case "keras":
            return KerasParams.parse({"learning_rate": 0.01, "precision": "float32"} | values)
        case "torch":
            return TorchParams.parse({"learning_rate": 0.003, "precision": "float32"} | values)
    return TrainingParams.parse({"learning_rate": 0.1} | values)


def small_network(dropout: float = 0.0) -> nn.Sequential:
    """In PyTorch; tests.conftest.small_model is in Keras."""
    return nn.Sequential(
        Standardize(),
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(4 * 81, 3),
    )


def dense_classifier() -> Network:
    """In NumPy."""
    return dense_network(81, (16,), classes=3, random=np.random.default_rng(0))
