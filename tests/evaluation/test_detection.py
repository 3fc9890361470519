"""What is said of detections that are written down here."""

import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackml.data.canvases import Canvases, DetectionData, Objects
from trackml.evaluation.classification import NO_CLASS
from trackml.evaluation.detection import best_labels, evaluate_detector, mean_average_precision
from trackml.evaluation.matching import match, mean_iou
from trackml.history import History

CLASSES = ("cat", "dog")
LEFT, RIGHT = (2, 2, 12, 12), (20, 20, 30, 30)


def objects(*rows: tuple[int, tuple[float, ...], int, float]) -> Objects:
    """Of (image, box, label, score)."""
    image, boxes, labels, scores = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Objects(
        np.array(image, np.int64),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(labels, np.int64),
        np.array(scores, np.float32),
    )


def canvases(count: int, *rows: tuple[int, tuple[float, ...], int]) -> Canvases:
    known = objects(*((image, box, label, 1.0) for image, box, label in rows))
    return Canvases(np.zeros((count, 40, 40), np.uint8), known)


TRUTH = canvases(3, (0, LEFT, 0), (0, RIGHT, 1), (1, LEFT, 1), (2, RIGHT, 0))


def test_to_find_all_and_nothing_else_is_perfect() -> None:
    found = TRUTH.objects
    assert mean_average_precision(found, TRUTH) == {"map": 1.0, "map_50": 1.0}
    outcomes = match(found, TRUTH)
    assert mean_iou(outcomes) == 1.0
    assert [outcome.severity for outcome in outcomes] == [0, 0, 0]


def test_to_find_nothing_is_nothing() -> None:
    assert mean_average_precision(objects(), TRUTH) == {"map": 0.0, "map_50": 0.0}
    outcomes = match(objects(), TRUTH)
    assert mean_iou(outcomes) == 0.0
    assert [outcome.severity for outcome in outcomes] == [2, 1, 1]


def test_a_box_that_is_half_off_counts_at_half_an_overlap() -> None:
    """10 x 10 pixels moved by 2: 80 of 120 pixels are in both, which is 0.667."""
    moved = tuple(side + shift for side, shift in zip(LEFT, (2, 0, 2, 0), strict=True))
    truth = canvases(1, (0, LEFT, 0))
    found = objects((0, moved, 0, 0.9))
    assert mean_iou(match(found, truth)) == pytest.approx(80 / 120)
    precision = mean_average_precision(found, truth)
    assert precision["map_50"] == 1.0
    assert precision["map"] == pytest.approx(0.4)  # at 0.5, 0.55, 0.6, 0.65 of ten overlaps


def test_a_surer_mistake_halves_the_precision() -> None:
    truth = canvases(1, (0, LEFT, 0))
    found = objects((0, RIGHT, 0, 0.9), (0, LEFT, 0, 0.8))
    assert mean_average_precision(found, truth)["map_50"] == pytest.approx(0.5, abs=0.01)


def test_a_wrong_class_is_a_miss_and_a_false_find() -> None:
    (outcome,) = match(objects((0, LEFT, 1, 0.75)), canvases(1, (0, LEFT, 0)))
    assert outcome.missed.tolist() == [True]
    assert outcome.wrong.tolist() == [True]
    assert outcome.severity == pytest.approx(1.75)
    assert mean_iou([outcome]) == 1.0  # the place is right


def test_what_is_not_sure_is_not_said() -> None:
    (outcome,) = match(objects((0, LEFT, 0, 0.49)), canvases(1, (0, LEFT, 0)))
    assert len(outcome.found) == 0
    assert outcome.missed.tolist() == [True]


def test_the_class_of_the_best_box_is_that_of_the_image() -> None:
    found = objects((0, LEFT, 1, 0.3), (0, RIGHT, 0, 0.6), (2, LEFT, 1, 0.1))
    assert best_labels(found, 3).tolist() == [0, NO_CLASS, 1]


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(1, 15)] * 2), min_size=1, max_size=4
    ),
    st.integers(0, 5),
)
def test_overlap_is_intersection_over_union_of_pixels(
    boxes: list[tuple[int, int, int, int]], shift: int
) -> None:
    def painted(box: tuple[float, ...]) -> Any:
        canvas = np.zeros((45, 45), bool)
        x1, y1, x2, y2 = (int(side) for side in box)
        canvas[y1:y2, x1:x2] = True
        return canvas

    corners = [(x, y, x + width, y + height) for x, y, width, height in boxes]
    moved = tuple(side + shift for side in corners[0])
    truth = canvases(1, *((0, box, 0) for box in corners))
    outcomes = match(objects((0, moved, 0, 0.9)), truth)
    expected = [
        (painted(box) & painted(moved)).sum() / (painted(box) | painted(moved)).sum()
        for box in corners
    ]
    assert mean_iou(outcomes) == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.fixture
def report() -> Any:
    """Of a detector that finds all but the last, and on singles sees a cat, nothing, a cat."""
    singles = canvases(3, (0, LEFT, 0), (1, LEFT, 1), (2, RIGHT, 1))
    data = DetectionData("pets", TRUTH, TRUTH, TRUTH, singles, singles, CLASSES, "sum", "here")
    said = {
        id(TRUTH): TRUTH.objects.at(slice(0, 3)),
        id(singles): objects((0, LEFT, 0, 0.9), (2, RIGHT, 0, 0.8)),
    }
    losses = dict.fromkeys(("train_loss", "val_loss", "train_loss_x", "val_loss_x"), 0.5)
    row = {**losses, "val_map": 0.7, "learning_rate": 0.1}
    history = History("map", "float32", rows=(row, row))
    return evaluate_detector(lambda part: said[id(part)], data, history)


def test_a_report_has_the_names_of_the_contract(report: Any) -> None:
    assert set(report.metrics) == {
        *("test_map", "test_map_50", "test_mean_iou", "test_accuracy", "test_f1_macro"),
        *("test_precision_macro", "test_recall_macro", "test_f1_class_0", "test_f1_class_1"),
        *("train_accuracy", "prediction_seconds_per_1000"),
    }
    assert report.metrics["test_accuracy"] == report.metrics["train_accuracy"] == 1 / 3
    assert report.metrics["test_mean_iou"] == 0.75
    assert report.metrics["test_f1_class_1"] == 0.0


def test_an_image_on_which_nothing_is_found_has_a_column_of_its_own(report: Any) -> None:
    matrix = json.loads(report.texts["reports/confusion_matrix.json"])
    assert matrix["classes"] == ["cat", "dog"]
    assert matrix["predicted"] == ["cat", "dog", "none"]
    assert matrix["counts"] == [[1, 0, 0], [1, 0, 1]]
    summary = json.loads(report.texts["reports/classification_report.json"])
    assert set(summary) == {"cat", "dog", "accuracy", "macro avg", "weighted avg"}
    assert summary["accuracy"] == pytest.approx(1 / 3)
    figure = report.figures["figures/confusion_matrix.png"]
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["cat", "dog", "none"]


def test_all_figures_can_be_drawn(report: Any) -> None:
    names = ("learning_curves", "losses", "confusion_matrix", "per_class_f1", "detections")
    assert set(report.figures) == {
        f"figures/{name}.png" for name in (*names, "mistakes", "samples")
    }
    for figure in report.figures.values():
        png = io.BytesIO()
        figure.savefig(png)
        assert png.getvalue().startswith(b"\x89PNG")


def test_the_worst_canvases_are_shown_first_and_good_ones_not_at_all(report: Any) -> None:
    title = report.figures["figures/mistakes.png"].get_suptitle()
    assert title.startswith("The worst of 1 test canvases")
    assert (
        report.figures["figures/detections.png"].get_suptitle().startswith("2 of 3 test canvases")
    )
