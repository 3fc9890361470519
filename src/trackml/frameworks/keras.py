"""What pipelines in Keras use."""

from sklearn.preprocessing import StandardScaler as StandardScaler

from trackml.backends import keras as keras, seed_everything as seed_everything
from trackml.comparison.side_by_side import with_baseline as with_baseline
from trackml.evaluation.classification import evaluate_classifier as evaluate_classifier
from trackml.evaluation.exploration import explore as explore
from trackml.evaluation.regression import evaluate_regressor as evaluate_regressor
from trackml.history import Callbacks as Callbacks
from trackml.metrics import LOSS as LOSS, Metric as Metric
from trackml.models.keras import (
    dense_classifier as dense_classifier,
    dense_regressor as dense_regressor,
    describe as describe,
    fashion_cnn as fashion_cnn,
    mirror_mean as mirror_mean,
    table_inputs as table_inputs,
    with_named_columns as with_named_columns,
)
from trackml.models.keras_features import with_features as with_features
from trackml.tracking.run import Parent as Parent, Result as Result, tracked_run as tracked_run
from trackml.training.augmentation import Augmentation as Augmentation
from trackml.training.features import fit_features as fit_features
from trackml.training.keras import (
    OPTIMIZERS as OPTIMIZERS,
    fit as fit,
    predictor as predictor,
)
from trackml.training.numpy_images import examples as examples
from trackml.training.objectives import CLASSIFICATION as CLASSIFICATION, REGRESSION as REGRESSION
from trackml.training.schedules import SCHEDULES as SCHEDULES
