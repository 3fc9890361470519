"""What the pipeline that averages trained models uses."""

from trackml.evaluation.classification import evaluate_classifier as evaluate_classifier
from trackml.evaluation.ensemble import with_weights as with_weights
from trackml.evaluation.regression import evaluate_regressor as evaluate_regressor
from trackml.history import Callbacks as Callbacks
from trackml.models.ensemble import describe as describe
from trackml.tracking.members import find_members as find_members, loaded as loaded
from trackml.tracking.run import Result as Result, tracked_run as tracked_run
from trackml.training.ensemble import fit as fit, predictor as predictor
