import io
import json

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from trackml.data import ImageData
from trackml.evaluation.classification import evaluate_classifier
from trackml.evaluation.comparison import compare_architectures
from trackml.evaluation.figures import classification as figures
from trackml.evaluation.figures.runs import learning_curves
from trackml.history import History

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def history() -> History:
    made = History("accuracy", "float32")
    for epoch in range(1, 4):
        made = made.extended(
            {
                "train_loss": 1 / epoch,
                "val_loss": 1.1 / epoch,
                "train_accuracy": 1 - 0.5 / epoch,
                "val_accuracy": 1 - 0.6 / epoch,
            }
        )
    return made


@pytest.fixture
def probabilities(blobs: ImageData) -> NDArray[np.float32]:
    """Right on all test images but the first three, which are taken for the next class."""
    labels = blobs.test.labels.copy()
    labels[:3] = (labels[:3] + 1) % 3
    return np.eye(3, dtype=np.float32)[labels] * 0.7 + 0.1


def test_a_report_has_everything_the_contract_names(
    blobs: ImageData, probabilities: NDArray[np.float32], history: History
) -> None:
    report = evaluate_classifier(lambda images: probabilities[: len(images)], blobs, history)
    assert set(report.metrics) == {
        *(f"test_{name}" for name in ("loss", "accuracy", "precision_macro", "recall_macro")),
        *("test_f1_macro", "test_f1_class_0", "test_f1_class_1", "test_f1_class_2"),
        "prediction_seconds_per_1000",
    }
    assert report.metrics["test_accuracy"] == 57 / 60
    assert set(report.figures) == {
        f"figures/{name}.png"
        for name in ("learning_curves", "confusion_matrix", "per_class_f1", "mistakes", "samples")
    }
    assert set(report.texts) == {
        f"reports/{name}"
        for name in (
            "classification_report.txt",
            "classification_report.json",
            "confusion_matrix.json",
        )
    }
    matrix = json.loads(report.texts["reports/confusion_matrix.json"])
    assert matrix["classes"] == ["top", "middle", "bottom"]
    assert np.trace(matrix["counts"]) == 57
    assert np.sum(matrix["counts"]) == 60
    details = json.loads(report.texts["reports/classification_report.json"])
    assert details["accuracy"] == 57 / 60
    assert details["middle"].keys() == {"precision", "recall", "f1-score", "support"}
    assert "bottom" in report.texts["reports/classification_report.txt"]


def test_all_figures_can_be_drawn(
    blobs: ImageData, probabilities: NDArray[np.float32], history: History
) -> None:
    report = evaluate_classifier(
        lambda images: probabilities[: len(images)], blobs, history, blobs.train.images[:4] // 2
    )
    for figure in report.figures.values():
        picture = io.BytesIO()
        figure.savefig(picture)
        assert picture.getvalue().startswith(PNG)


def texts(figure: Figure) -> list[str]:
    return [text for axes in figure.axes for text in _texts(axes)]


def _texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts] + [axes.get_title()]


def test_the_confusion_matrix_shows_counts_row_shares_and_class_names() -> None:
    figure = figures.confusion_matrix(np.array([[3, 1], [0, 4]]), *[["cat", "dog"]] * 2)
    assert texts(figure)[:4] == ["3\n75.0%", "1\n25.0%", "", "4\n100.0%"]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["cat", "dog"]
    assert "7 of 8 test images right (87.50%)" in texts(figure)


def test_a_class_without_examples_does_not_break_the_matrix() -> None:
    figures.confusion_matrix(np.array([[3, 1], [0, 0]]), *[["cat", "dog"]] * 2)


def test_the_gallery_shows_the_most_confident_mistakes_first() -> None:
    images = np.zeros((4, 5, 5), np.uint8)
    labels = np.array([0, 0, 1, 1])
    sure = np.array([[0.2, 0.8], [0.9, 0.1], [0.95, 0.05], [0.6, 0.4]], np.float32)
    titles = texts(figures.mistakes(images, labels, sure, "AB"))
    assert titles[:4] == ["says A, 95.0%\nis B", "says B, 80.0%\nis A", "says A, 60.0%\nis B", ""]


def test_a_perfect_model_has_an_empty_gallery() -> None:
    images, labels = np.zeros((2, 5, 5), np.uint8), np.array([0, 1])
    figure = figures.mistakes(images, labels, np.eye(2, dtype=np.float32), "AB")
    assert figure.get_suptitle() == "Most confident of 0 mistakes on 2 test images"


def test_the_best_epoch_is_marked(history: History) -> None:
    figure = learning_curves(history)
    legend = figure.axes[1].get_legend()
    assert legend is not None
    assert "best epoch 3: val 0.8000" in [text.get_text() for text in legend.get_texts()]


def test_originals_stand_above_their_augmented_versions(blobs: ImageData) -> None:
    changed = blobs.train.images[:3].astype(np.float32) / 2
    figure = figures.augmentations(blobs.train, blobs.classes, changed)
    (axes,) = figure.axes
    shown = np.asarray(axes.images[0].get_array())
    # What is not white: rows of images, each as wide and high as they are.
    places = [
        (row, column)
        for row in range(shown.shape[0] - 8)
        for column in range(shown.shape[1] - 8)
        if (shown[row : row + 9, column : column + 9] < 255).all()
    ]
    assert len(places) == 6
    for (row, column), image in zip(places, [*blobs.train.images[:3], *changed], strict=True):
        np.testing.assert_array_equal(shown[row : row + 9, column : column + 9], image)


def test_a_comparison_shows_both_and_the_difference() -> None:
    report = compare_architectures(
        {"cnn": {"acc": 0.9, "other": 1.0}, "cnn-aug": {"acc": 0.875}}, ["acc"], ["One run each."]
    )
    table = report.texts["reports/comparison.md"]
    assert "| acc | 0.9000 | 0.8750 | -0.0250 |" in table
    assert "One run each." in table
    assert json.loads(report.texts["reports/comparison.json"])["cnn-aug"] == {"acc": 0.875}
