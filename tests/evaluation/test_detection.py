"""Scores of detections that are written down here."""

import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from tests.evaluation.drawing import drawn, figure_of, text_of, words
from trackml.data.canvases import Canvases, DetectionData, Objects
from trackml.evaluation.box_matching import match_boxes, mean_iou
from trackml.evaluation.classification import NO_CLASS
from trackml.evaluation.detection import best_labels, evaluate_detector, mean_average_precision
from trackml.evaluation.report import Report
from trackml.history import History
from trackml.metrics import MAP

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
    truth = objects(*((image, box, label, 1.0) for image, box, label in rows))
    return Canvases(np.zeros((count, 40, 40), np.uint8), truth)


TRUTH = canvases(3, (0, LEFT, 0), (0, RIGHT, 1), (1, LEFT, 1), (2, RIGHT, 0))
ONE = canvases(1, (0, LEFT, 0))


@pytest.mark.parametrize(
    ("detections", "score", "severities"),
    [(TRUTH.objects, 1.0, [0, 0, 0]), (objects(), 0.0, [2, 1, 1])],
)
def test_detecting_all_objects_is_perfect_and_none_scores_zero(
    detections: Objects, score: float, severities: list[float]
) -> None:
    assert mean_average_precision(detections, TRUTH) == {"map": score, "map_50": score}
    matches = match_boxes(detections, TRUTH)
    assert mean_iou(matches) == score
    assert [each.severity for each in matches] == severities


def test_a_box_with_two_thirds_overlap_counts_up_to_that_overlap() -> None:
    """10 x 10 pixels moved by 2: 80 of 120 pixels are in both, which is 0.667."""
    moved = tuple(side + shift for side, shift in zip(LEFT, (2, 0, 2, 0), strict=True))
    detections = objects((0, moved, 0, 0.9))
    assert mean_iou(match_boxes(detections, ONE)) == pytest.approx(80 / 120)
    precision = mean_average_precision(detections, ONE)
    assert precision["map_50"] == 1.0
    assert precision["map"] == pytest.approx(0.4)  # at 0.5, 0.55, 0.6, 0.65 of ten overlaps


def test_a_mistake_with_a_higher_score_halves_the_precision() -> None:
    detections = objects((0, RIGHT, 0, 0.9), (0, LEFT, 0, 0.8))
    assert mean_average_precision(detections, ONE)["map_50"] == pytest.approx(0.5, abs=0.01)


def test_a_wrong_class_is_a_missed_object_and_a_wrong_detection() -> None:
    (matches,) = match_boxes(objects((0, LEFT, 1, 0.75)), ONE)
    assert matches.missed.tolist() == [True]
    assert matches.wrong.tolist() == [True]
    assert matches.severity == pytest.approx(1.75)
    assert mean_iou([matches]) == 1.0  # the place is right


def test_a_detection_with_a_low_score_does_not_count() -> None:
    (matches,) = match_boxes(objects((0, LEFT, 0, 0.49)), ONE)
    assert len(matches.detections) == 0
    assert matches.missed.tolist() == [True]


def test_the_class_of_an_image_is_that_of_its_best_box() -> None:
    detections = objects((0, LEFT, 1, 0.3), (0, RIGHT, 0, 0.6), (2, LEFT, 1, 0.1))
    assert best_labels(detections, 3).tolist() == [0, NO_CLASS, 1]


def painted(box: tuple[float, ...]) -> NDArray[np.bool_]:
    canvas = np.zeros((45, 45), bool)
    x1, y1, x2, y2 = (int(side) for side in box)
    canvas[y1:y2, x1:x2] = True
    return canvas


POINTS, SIZES = st.integers(0, 20), st.integers(1, 15)


@settings(max_examples=30)
@given(st.lists(st.tuples(POINTS, POINTS, SIZES, SIZES), min_size=1, max_size=4), st.integers(0, 5))
def test_overlap_is_intersection_over_union_of_pixels(
    boxes: list[tuple[int, int, int, int]], shift: int
) -> None:
    corners = [(x, y, x + width, y + height) for x, y, width, height in boxes]
    moved = tuple(side + shift for side in corners[0])
    truth = canvases(1, *((0, box, 0) for box in corners))
    matches = match_boxes(objects((0, moved, 0, 0.9)), truth)
    ious = [
        (painted(box) & painted(moved)).sum() / (painted(box) | painted(moved)).sum()
        for box in corners
    ]
    assert mean_iou(matches) == pytest.approx(np.mean(ious), rel=1e-5)


@pytest.fixture
def report() -> Report:
    return example()


def example() -> Report:
    """Of a detector that misses the last object; of the singles it finds a cat, nothing, a cat."""
    singles = canvases(3, (0, LEFT, 0), (1, LEFT, 1), (2, RIGHT, 1))
    pets = ("cat", "dog")
    data = DetectionData("pets", TRUTH, TRUTH, TRUTH, singles, singles, pets, "sum", "here")
    detections = {
        id(TRUTH): TRUTH.objects.at(slice(0, 3)),
        id(singles): objects((0, LEFT, 0, 0.9), (2, RIGHT, 0, 0.8)),
    }
    losses = dict.fromkeys(("train_loss", "val_loss", "train_loss_x", "val_loss_x"), 0.5)
    row = {**losses, "val_map": 0.7, "learning_rate": 0.1}
    history = History(MAP, "float32", rows=(row, row))
    return evaluate_detector(lambda part: detections[id(part)], data, history)


def test_a_report_has_all_names_of_the_contract(report: Report) -> None:
    assert set(report.metrics) == {
        *("test_map", "test_map_50", "test_mean_iou", "test_accuracy", "test_f1_macro"),
        *("test_precision_macro", "test_recall_macro", "test_f1_class_0", "test_f1_class_1"),
        *("train_accuracy", "prediction_seconds_per_1000"),
    }
    assert report.metrics["test_accuracy"] == report.metrics["train_accuracy"] == 1 / 3
    assert report.metrics["test_mean_iou"] == 0.75
    assert report.metrics["test_f1_class_1"] == 0.0
    assert drawn(report) == {
        *("learning_curves", "losses", "confusion_matrix", "per_class_f1", "detections"),
        *("mistakes", "samples"),
    }


def test_images_without_a_detection_have_their_own_column(report: Report) -> None:
    matrix = json.loads(text_of(report, "reports/confusion_matrix.json"))
    assert matrix["classes"] == ["cat", "dog"]
    assert matrix["predicted"] == ["cat", "dog", "none"]
    assert matrix["counts"] == [[1, 0, 0], [1, 0, 1]]
    scores = json.loads(text_of(report, "reports/classification_report.json"))
    assert set(scores) == {"cat", "dog", "accuracy", "macro avg", "weighted avg"}
    assert scores["accuracy"] == pytest.approx(1 / 3)
    (axes, *_) = figure_of(report, "figures/confusion_matrix.png").axes
    assert words(axes.get_xticklabels()) == ["cat", "dog", "none"]


@pytest.mark.parametrize(
    ("name", "title", "shown"),
    [("mistakes", "The worst of 1 test canvases", 1), ("detections", "2 of 3 test canvases", 3)],
)
def test_perfect_canvases_are_counted_and_not_among_the_worst(
    name: str, title: str, shown: int, report: Report
) -> None:
    figure = figure_of(report, f"figures/{name}.png")
    assert figure.get_suptitle().startswith(title)
    assert sum(text.startswith("is ") for text in words(figure.axes[0].texts)) == shown
