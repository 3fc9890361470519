import json

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.evaluation.drawing import drawn, text_of, words
from trackml.data import ImageData
from trackml.evaluation.classification import (
    evaluate_classifier,
    plot_confusion_matrix,
    plot_mistakes,
    plot_samples,
)
from trackml.evaluation.figures.runs import learning_curves
from trackml.history import History
from trackml.metrics import ACCURACY

LOSSES = {"train_loss": 1.0, "val_loss": 1.1, "train_accuracy": 0.5}
HISTORY = History(ACCURACY, "float32", rows=tuple(LOSSES | {"val_accuracy": n} for n in (0.4, 0.8)))


@pytest.fixture
def probabilities(blobs: ImageData) -> NDArray[np.float32]:
    """Right on all test images but the first three, for which the next class is predicted."""
    labels = blobs.test.labels.copy()
    labels[:3] = (labels[:3] + 1) % 3
    return np.eye(3, dtype=np.float32)[labels] * 0.7 + 0.1


def test_a_report_has_all_names_of_the_contract(
    blobs: ImageData, probabilities: NDArray[np.float32]
) -> None:
    report = evaluate_classifier(lambda images: probabilities[: len(images)], blobs, HISTORY)
    assert set(report.metrics) == {
        *(f"test_{name}" for name in ("loss", "accuracy", "precision_macro", "recall_macro")),
        *("test_f1_macro", "test_f1_class_0", "test_f1_class_1", "test_f1_class_2"),
        "prediction_seconds_per_1000",
    }
    assert report.metrics["test_accuracy"] == 57 / 60
    assert drawn(report) == {
        *("learning_curves", "confusion_matrix", "per_class_f1", "mistakes", "samples")
    }
    details = "reports/classification_report"
    assert set(report.texts) == {
        *(f"{details}.txt", f"{details}.json", "reports/confusion_matrix.json")
    }
    matrix = json.loads(text_of(report, "reports/confusion_matrix.json"))
    assert matrix["classes"] == ["top", "middle", "bottom"]
    assert np.trace(matrix["counts"]) == 57
    assert np.sum(matrix["counts"]) == 60
    scores = json.loads(text_of(report, f"{details}.json"))
    assert scores["accuracy"] == 57 / 60
    assert scores["middle"].keys() == {"precision", "recall", "f1-score", "support"}
    assert "bottom" in text_of(report, f"{details}.txt")


@pytest.mark.parametrize(
    ("counts", "cells", "title"),
    [
        ([[3, 1], [0, 4]], ["3\n75.0%", "1\n25.0%", "", "4\n100.0%"], "7 of 8 test images right"),
        ([[3, 1], [0, 0]], ["3\n75.0%", "1\n25.0%", "", ""], "3 of 4 test images right (75.00%)"),
    ],
)
def test_the_confusion_matrix_shows_counts_shares_of_rows_and_class_names(
    counts: list[list[int]], cells: list[str], title: str
) -> None:
    axes = plot_confusion_matrix(np.array(counts), *[["cat", "dog"]] * 2).axes[0]
    assert words(axes.texts) == cells
    assert words(axes.get_yticklabels()) == ["cat", "dog"]
    assert axes.get_title().startswith(title)


@pytest.mark.parametrize(
    ("probable", "titles"),
    [
        (
            [0.2, 0.9, 0.95, 0.6],
            ["says A, 95.0%\nis B", "says B, 80.0%\nis A", "says A, 60.0%\nis B"],
        ),
        ([1.0, 1.0, 0.0, 0.0], []),
    ],
)
def test_the_most_confident_mistakes_are_shown_first(
    probable: list[float], titles: list[str]
) -> None:
    probabilities = np.array([[p, 1 - p] for p in probable], np.float32)
    figure = plot_mistakes(np.zeros((4, 5, 5), np.uint8), np.repeat([0, 1], 2), probabilities, "AB")
    assert words(figure.axes[0].texts) == titles
    assert figure.get_suptitle() == f"Most confident of {len(titles)} mistakes on 4 test images"


def test_the_best_epoch_is_marked() -> None:
    legend = learning_curves(HISTORY).axes[1].get_legend()
    assert legend is not None
    assert "best epoch 2: val 0.8000" in words(legend.get_texts())


def test_training_images_are_above_their_augmented_versions(blobs: ImageData) -> None:
    augmented = blobs.train.images[:3].astype(np.float32) / 2
    (axes,) = plot_samples(blobs.train, blobs.classes, augmented).axes
    shown = np.asarray(axes.images[0].get_array())
    tiles = np.lib.stride_tricks.sliding_window_view(shown, (9, 9))
    tiles = tiles[(tiles < 255).all(axis=(2, 3))]  # without a white pixel, row by row
    np.testing.assert_array_equal(tiles, [*blobs.train.images[:3], *augmented])
