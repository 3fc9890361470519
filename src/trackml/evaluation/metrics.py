"""Scores of predictions, by the same code for every framework."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support

EPSILON = 1e-7  # as Keras: a certain mistake costs -log(1e-7) = 16.1, not infinity


def score_classes(probabilities: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    """Mean cross-entropy, in nats, and accuracy, of probabilities (N, C) for labels (N,)."""
    of_truth = np.take_along_axis(probabilities, labels[:, np.newaxis], axis=1)[:, 0]
    return {
        "loss": float(-np.log(np.clip(of_truth, EPSILON, 1.0), dtype=np.float64).mean()),
        "accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
    }


def classification_metrics(probabilities: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    """Loss, accuracy, precision, recall and F1 (macro: classes count alike), and F1 per class.

    A class that is never predicted has precision 0 and F1 0.
    """
    classes = range(probabilities.shape[1])
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=classes, zero_division=0
    )
    return {
        **score_classes(probabilities, labels),
        "precision_macro": float(precision.mean()),
        "recall_macro": float(recall.mean()),
        "f1_macro": float(f1.mean()),
        **{f"f1_class_{c}": float(f1[c]) for c in classes},
    }
