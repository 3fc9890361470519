"""What pipelines in PyTorch use."""

import torch as torch

from trackml.backends import seed_everything as seed_everything
from trackml.evaluation.classification import evaluate_classifier as evaluate_classifier
from trackml.evaluation.detection import evaluate_detector as evaluate_detector
from trackml.evaluation.exploration import explore as explore
from trackml.evaluation.graph import draw_graph as draw_graph
from trackml.evaluation.regression import evaluate_regressor as evaluate_regressor
from trackml.history import Callbacks as Callbacks
from trackml.metrics import LOSS as LOSS, Metric as Metric
from trackml.models.faster_rcnn import faster_rcnn as faster_rcnn
from trackml.models.pretrained import load_weights as load_weights
from trackml.models.residual import residual_network as residual_network
from trackml.models.torch import (
    MirrorMean as MirrorMean,
    TableInputs as TableInputs,
    describe as describe,
    mnist_cnn as mnist_cnn,
    with_probabilities as with_probabilities,
)
from trackml.models.transfer import freeze as freeze, transfer_network as transfer_network
from trackml.tracking.run import Parent as Parent, Result as Result, tracked_run as tracked_run
from trackml.training.augmentation import Augmentation as Augmentation
from trackml.training.detection import find_objects as find_objects, fit_detector as fit_detector
from trackml.training.frozen_features import precompute as precompute
from trackml.training.numpy_images import examples as examples
from trackml.training.objectives import CLASSIFICATION as CLASSIFICATION, REGRESSION as REGRESSION
from trackml.training.schedules import SCHEDULES as SCHEDULES
from trackml.training.torch import (
    OPTIMIZERS as OPTIMIZERS,
    fit as fit,
    predict as predict,
    predictor as predictor,
    resolve_device as resolve_device,
)
