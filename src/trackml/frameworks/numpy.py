"""What pipelines in NumPy alone use."""

import numpy as numpy

from trackml.evaluation.classification import evaluate_classifier as evaluate_classifier
from trackml.evaluation.weights import draw_weights as draw_weights
from trackml.history import Callbacks as Callbacks
from trackml.metrics import LOSS as LOSS, Metric as Metric
from trackml.models.mlp import predict as predict
from trackml.models.numpy import dense_network as dense_network, describe as describe
from trackml.tracking.run import Parent as Parent, Result as Result, tracked_run as tracked_run
from trackml.training.augmentation import Augmentation as Augmentation
from trackml.training.numpy import SGD as SGD, fit as fit
from trackml.training.numpy_images import examples as examples
from trackml.training.objectives import CLASSIFICATION as CLASSIFICATION, REGRESSION as REGRESSION
from trackml.training.schedules import SCHEDULES as SCHEDULES
