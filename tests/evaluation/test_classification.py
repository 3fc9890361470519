import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from tests.evaluation.drawing import drawn, text_of, words
from trackml.data import ImageData, TableData
from trackml.evaluation.classification import (
    evaluate_classifier,
    plot_confusion_matrix,
    plot_samples,
)
from trackml.evaluation.figures.runs import learning_curves
from trackml.evaluation.mistakes import MAX_ROWS, plot_confusions, plot_mistakes
from trackml.history import History, Step
from trackml.metrics import ACCURACY, LOSS, Metric

LOSSES = {"train_loss": 1.0, "train_accuracy": 0.5}
HISTORY = History(
    ACCURACY,
    "float32",
    rows=tuple(LOSSES | {"val_loss": 1.5 - n, "val_accuracy": n} for n in (0.4, 0.8)),
)


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
        *("test_expected_calibration_error", "prediction_seconds_per_1000"),
    }
    assert report.metrics["test_accuracy"] == 57 / 60
    assert drawn(report) == {
        *("learning_curves", "confusion_matrix", "per_class_f1", "mistakes", "samples"),
        *("roc_precision_recall", "calibration", "confusions"),
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


def birds(classes: int = 3, rows: int = 60) -> TableData:
    """A table with texts, missing values and classes."""
    number = np.arange(rows)
    frame = pd.DataFrame(
        {
            "wing": np.where(number % 7, number / 10, np.nan),
            "color": pd.Series(["brown", "gray", None]).repeat(rows // 3).to_numpy(),
            "kind": [f"kind {n % classes:02}" for n in number],
        }
    )
    return TableData.from_frame("birds", frame, target="kind", missing="impute")


def test_a_table_has_its_mistakes_as_rows_and_metrics_of_ones_own() -> None:
    data = birds()
    answers = np.eye(3, dtype=np.float32)[data.test.target] * 0.4 + 0.2
    answers[2], answers[5] = np.roll(answers[2], 1), np.roll(answers[5], 1) + [0.1, -0.05, -0.05]
    mean = Metric("mean_probability", True, lambda labels, given: given[labels >= 0].mean())
    history = replace(HISTORY, metrics=(ACCURACY, mean), is_iterative=False)
    report = evaluate_classifier(lambda rows: answers[: len(rows)], data, history)
    assert report.metrics["test_accuracy"] == pytest.approx(1 - 2 / len(data.test))
    assert report.metrics["test_mean_probability"] == pytest.approx(1 / 3)
    assert drawn(report) == {
        *("confusion_matrix", "per_class_f1"),
        *("roc_precision_recall", "calibration", "permutation_importance"),
    }
    figure = report.figures["figures/confusion_matrix.png"]()
    assert figure
    assert figure.axes[0].get_title().startswith("10 of 12 test rows right")
    text = io.StringIO(text_of(report, "reports/mistakes.csv"))
    listed = pd.read_csv(text, index_col="test_row")
    assert sorted(listed.index) == [3, 6]
    assert listed["probability"].is_monotonic_decreasing
    rows = listed.index.to_numpy() - 1
    assert listed["true"].tolist() == [data.classes[label] for label in data.test.target[rows]]
    raw = data.as_frame(data.test.features[rows])
    pd.testing.assert_frame_equal(
        listed[list(data.columns)].reset_index(drop=True), raw, check_dtype=False
    )


def test_a_table_without_mistakes_lists_none_and_one_of_quantities_has_no_classes() -> None:
    data = birds()
    right = np.eye(3, dtype=np.float32)[data.test.target]
    report = evaluate_classifier(lambda rows: right[: len(rows)], data, HISTORY)
    assert report.texts["reports/mistakes.csv"]() is None
    part = np.ones((20, 1)), np.arange(20.0)
    homes = TableData.from_arrays("homes", part, columns=["rooms"])
    with pytest.raises(ValueError, match="homes has no classes: evaluate_regressor is for"):
        evaluate_classifier(lambda rows: right, homes, HISTORY)


def test_a_hundred_classes_are_drawn_without_shares() -> None:
    data = birds(100, rows=1_200)
    nothing = np.full((len(data.test), 100), 0.01, np.float32)
    report = evaluate_classifier(lambda rows: nothing[: len(rows)], data, HISTORY)
    figure = report.figures["figures/confusion_matrix.png"]()
    assert figure
    assert "%" not in "".join(words(figure.axes[0].texts))
    assert len(words(figure.axes[0].get_yticklabels())) == 100
    assert max(figure.get_size_inches()) < 30
    assert text_of(report, "reports/mistakes.csv").count("\n") == MAX_ROWS + 1
    assert "test_f1_class_99" in report.metrics


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ((9, 9, 1), "gray"),
        ((9, 9, 2), "gray"),
        ((9, 9, 3), "color"),
        ((9, 9, 4), "color"),
        ((400, 20, 3), "color"),
        ((900, 1_200), "gray"),
    ],
)
def test_images_of_any_kind_are_drawn(shape: tuple[int, ...], shown: str) -> None:
    images = np.zeros((40, *shape), np.uint8)
    if len(shape) == 3:
        images[:, :, : shape[1] // 3] = 200, *([0] * (shape[2] - 1))[:3]
    data = ImageData.from_arrays("own", (images, np.arange(40) % 2), classes=["a" * 40, "b"])
    wrong = np.eye(2, dtype=np.float32)[1 - data.test.labels]
    report = evaluate_classifier(lambda given: wrong[: len(given)], data, HISTORY)
    for name in ("samples", "mistakes"):
        figure = report.figures[f"figures/{name}.png"]()
        assert figure
        tiles = np.asarray(figure.axes[0].images[0].get_array())
        assert (tiles.shape[2:] == (3,)) == (shown == "color")
        assert max(tiles.shape) < 6_000
        assert max(figure.get_size_inches()) < 20
        lines = "\n".join(words(figure.axes[0].texts)).splitlines()
        assert max(map(len, lines)) < 30
        if shape == (9, 9, 3):
            assert set(map(tuple, tiles.reshape(-1, 3))) == {(0, 0, 0), (200, 0, 0), (255,) * 3}
        if shape == (9, 9, 4):  # all transparent, on white
            assert set(tiles.ravel()) == {255}


@pytest.mark.parametrize(
    ("counts", "cells", "title"),
    [
        ([[3, 1], [0, 4]], ["3\n75.0%", "1\n25.0%", "4\n100.0%"], "7 of 8 test images right"),
        ([[3, 1], [0, 0]], ["3\n75.0%", "1\n25.0%"], "3 of 4 test images right (75.00%)"),
    ],
)
def test_the_confusion_matrix_shows_counts_shares_of_rows_and_class_names(
    counts: list[list[int]], cells: list[str], title: str
) -> None:
    names = ["cat", "dog"]
    axes = plot_confusion_matrix(np.array(counts), names, names).axes[0]
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


@pytest.mark.parametrize(("metric", "step"), [(ACCURACY, "epoch"), (LOSS, "iteration")])
def test_the_best_epoch_or_iteration_is_marked(metric: Metric, step: Step) -> None:
    figure = learning_curves(replace(HISTORY, metric=metric, step=step))
    assert figure
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy"]
    assert {axes.get_xlabel() for axes in figure.axes} == {step}
    legend = figure.axes[1].get_legend()
    assert legend is not None
    assert f"best {step} 2: val 0.8000" in words(legend.get_texts())


def test_a_mark_does_not_hide_the_only_epoch_and_an_iteration_is_called_one() -> None:
    figure = learning_curves(replace(HISTORY, rows=HISTORY.rows[-1:], step="iteration"))
    assert figure
    for axes in figure.axes:
        order = {str(line.get_label()): line.get_zorder() for line in axes.lines}
        (mark,) = (label for label in order if label.startswith("best iteration 1: "))
        assert axes.get_xlabel() == "iteration"
        assert order[mark] < min(order["train"], order["val"])


def test_training_images_are_above_their_augmented_versions(blobs: ImageData) -> None:
    augmented = blobs.train.images[:3].astype(np.float32) / 2
    (axes,) = plot_samples(blobs.train, blobs.classes, augmented).axes
    shown = np.asarray(axes.images[0].get_array())
    tiles = np.lib.stride_tricks.sliding_window_view(shown, (9, 9))
    tiles = tiles[(tiles < 255).all(axis=(2, 3))]  # without a white pixel, row by row
    np.testing.assert_array_equal(tiles, [*blobs.train.images[:3], *augmented])


def test_the_most_frequent_confusions_are_between_typical_images() -> None:
    """Of two classes; three A are taken for B, one B for A, and no A is right."""
    labels = np.array([0, 0, 0, 1, 1, 1])
    of_a = np.array([0.2, 0.1, 0.4, 0.3, 0.05, 0.7], np.float32)
    images = np.arange(6, dtype=np.uint8).repeat(25).reshape(6, 5, 5)
    probabilities = np.stack([of_a, 1 - of_a], axis=1)
    figure = plot_confusions(images, labels, probabilities, "AB")
    assert figure
    titles = ["true, none right\nA", "90.0%", "80.0%", "60.0%", "3 x predicted\nB"]
    titles += ["true\nB", "70.0%", "", "", "1 x predicted\nA"]
    assert words(figure.axes[0].texts) == titles
    tiles = np.asarray(figure.axes[0].images[0].get_array())
    shown = [value for value in np.unique(tiles) if value != 255]
    assert shown == [0, 1, 2, 4, 5]  # 4 is the typical B; there is no typical A
    assert figure.get_suptitle().startswith("Most frequent confusions: 4 of 4 mistakes on 6 ")
    right = np.eye(2, dtype=np.float32)[labels]
    assert plot_confusions(images, labels, right, "AB") is None
