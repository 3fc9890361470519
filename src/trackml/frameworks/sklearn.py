"""What pipelines in scikit-learn use."""

from sklearn.ensemble import HistGradientBoostingRegressor as HistGradientBoostingRegressor
from sklearn.kernel_approximation import Nystroem as Nystroem
from sklearn.linear_model import LogisticRegression as LogisticRegression
from sklearn.pipeline import make_pipeline as make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler as MinMaxScaler,
    StandardScaler as StandardScaler,
)

from trackml.evaluation.classification import evaluate_classifier as evaluate_classifier
from trackml.evaluation.exploration import explore as explore
from trackml.evaluation.regression import evaluate_regressor as evaluate_regressor
from trackml.history import Callbacks as Callbacks
from trackml.metrics import LOSS as LOSS, Metric as Metric
from trackml.models.features import with_features as with_features
from trackml.models.sklearn import describe as describe
from trackml.models.tables import preprocessing as preprocessing
from trackml.tracking.run import Parent as Parent, Result as Result, tracked_run as tracked_run
from trackml.training.features import fit_features as fit_features
from trackml.training.sklearn import fit as fit, predictor as predictor
