"""What figures say of class probabilities that are written down here."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from tests.evaluation.drawing import words
from trackml.evaluation.probabilities import plot_calibration, plot_curves, reliability

Array = NDArray[np.float64]


def answers(labels: NDArray[np.int64], classes: int, skill: float, seed: int = 0) -> Array:
    scores = np.random.default_rng(seed).normal(size=(len(labels), classes))
    scores[np.arange(len(labels)), labels] += skill
    powers = np.exp(scores)
    probabilities: Array = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


@settings(max_examples=25)
@given(st.integers(2, 40), st.floats(0, 9), st.integers(0, 9), st.integers(1, 300))
def test_the_expected_calibration_error_is_the_mean_gap_of_its_bins(
    classes: int, skill: float, seed: int, rows: int
) -> None:
    labels = np.arange(rows) % classes
    probabilities = answers(labels, classes, skill, seed)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    error, edges = 0.0, np.linspace(0, 1, 16)
    for low, high in pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    bins = reliability(probabilities, labels)
    assert bins.expected_error == pytest.approx(error, abs=1e-9)
    assert bins.rows.sum() == rows


@pytest.mark.parametrize("skill", [0.0, 2.0, 90.0])
def test_a_reliability_diagram_cuts_nothing(skill: float) -> None:
    labels = np.arange(300) % 3
    bins = reliability(answers(labels, 3, skill), labels)
    diagram, counts = plot_calibration(bins).axes
    (low, high), shown = diagram.get_ylim(), diagram.containers[0][0]
    assert low < 0
    assert high > 1
    assert np.asarray(shown.get_ydata()).tolist() == bins.accuracy.tolist()
    assert [bar.get_height() for bar in counts.patches] == bins.rows.tolist()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("classes", "named"), [(2, 2), (10, 10), (40, 5), (300, 5)])
def test_curves_name_all_of_few_classes_and_the_worst_of_many(classes: int, named: int) -> None:
    labels = np.arange(900) % classes
    probabilities = answers(labels, classes, 3.0)
    names = [f"class {number}" for number in range(classes)]
    figure = plot_curves(probabilities, labels, names, "rows")
    assert figure
    roc, precision = figure.axes
    legend = precision.get_legend()
    assert legend
    texts = words(legend.get_texts())
    assert len(texts) == named + (classes > 10)
    for text in texts[:named]:
        name, _, scores = text.partition(": ")
        index = names.index(name)
        of_class = (labels == index, probabilities[:, index])
        expected = roc_auc_score(*of_class), average_precision_score(*of_class)
        assert [float(each) for each in scores.split(", ")] == pytest.approx(expected, abs=1e-4)
    if classes == 40:
        scored = [average_precision_score(labels == c, probabilities[:, c]) for c in range(40)]
        assert [text.split(":")[0] for text in texts[:5]] == [
            names[index] for index in np.argsort(scored)[:5]
        ]
    assert len(roc.lines) == min(classes, 200) + 1  # and that of chance
    assert (f"(200 of {classes})" in figure.get_suptitle()) == (classes == 300)
    assert not roc.get_legend()


@pytest.mark.parametrize(("skill", "reach"), [(0.0, 1.0), (4.0, 0.5), (90.0, 1.0)])
def test_only_good_curves_are_enlarged(skill: float, reach: float) -> None:
    labels = np.arange(4_000) % 4
    figure = plot_curves(answers(labels, 4, skill), labels, "abcd")
    assert figure
    low, high = figure.axes[0].get_xlim()
    assert low < 0
    assert 1 < high < 1.1 if reach == 1 else high < reach


def test_without_rows_of_two_classes_there_are_no_curves() -> None:
    labels = np.zeros(9, np.int64)
    assert plot_curves(answers(labels, 2, 1.0), labels, "ab") is None
