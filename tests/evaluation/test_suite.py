"""What a suite's tables and figures say, from runs that are written down here."""

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackml.evaluation.suite import report_suite, summarise, winners

FACTORS = ("variant", "optimizer")
PNG = b"\x89PNG"


def run(variant: str, optimizer: str, val: float, **more: Any) -> dict[str, Any]:
    return {
        "run_id": f"{variant}-{optimizer}-{val}",
        "variant": variant,
        "optimizer": optimizer,
        "best_val_accuracy": val,
        "best_val_loss": 0.1,
        "test_accuracy": val - 0.01,
        "convergence_epoch": 3,
        "seconds": 10.0,
        "val_accuracy": [0.5, val],
        **more,
    }


TRIALS = pd.DataFrame(
    [
        run("plain", "adam", 0.97),
        run("plain", "adam", 0.99, convergence_epoch=4),
        run("plain", "sgd", 0.96),
        run("plain", "sgd", 0.95),
        run("dropout", "adam", 0.93, test_accuracy=0.999),
        run("dropout", "sgd", 0.94),
    ]
)


def test_a_row_per_combination_has_n_means_and_spread_best_first() -> None:
    table = summarise(TRIALS, FACTORS)
    assert list(zip(table["variant"], table["optimizer"], table["n"], strict=True)) == [
        ("plain", "adam", 2),
        ("plain", "sgd", 2),
        ("dropout", "sgd", 1),
        ("dropout", "adam", 1),
    ]
    first = table.iloc[0]
    assert first["best_val_accuracy_mean"] == pytest.approx(0.98)
    assert first["best_val_accuracy_std"] == pytest.approx(0.0141421, rel=1e-4)
    assert first["test_accuracy_mean"] == pytest.approx(0.97)
    assert (first["convergence_epoch"], first["seconds"]) == (3.5, 10.0)
    assert pd.isna(table.iloc[2]["best_val_accuracy_std"])


def test_the_test_score_chooses_nothing() -> None:
    """The combination with the best test score has the worst validation score."""
    chosen = winners(TRIALS, FACTORS)
    assert list(chosen["run_id"]) == ["dropout-sgd-0.94", "plain-adam-0.99"]


def test_among_equals_the_lower_validation_loss_wins() -> None:
    tie = [run("plain", "sgd", 0.9, best_val_loss=0.2), run("plain", "adam", 0.9)]
    table = summarise(pd.DataFrame(tie), FACTORS)
    assert list(table["optimizer"]) == ["adam", "sgd"]


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.integers(0, 100)), min_size=1
    )
)
def test_each_variant_has_one_winner_and_the_best_combination_comes_last(
    scores: list[tuple[str, str, int]],
) -> None:
    trials = pd.DataFrame([run(v, o, score / 100) for v, o, score in scores])
    chosen, table = winners(trials, FACTORS), summarise(trials, FACTORS)
    assert sorted(chosen["variant"]) == sorted({variant for variant, _, _ in scores})
    best = table.iloc[0]
    last = chosen.iloc[-1]
    assert (last["variant"], last["optimizer"]) == (best["variant"], best["optimizer"])
    most = max(score for v, o, score in scores if (v, o) == (last["variant"], last["optimizer"]))
    assert last["best_val_accuracy"] == most / 100


def test_the_report_has_the_tables_and_the_figures() -> None:
    report = report_suite(TRIALS, FACTORS, ["dropout rmsprop seed 0: train_loss is nan"])
    assert len(pd.read_csv(io.StringIO(report.texts["suite.csv"]))) == 4
    page = report.texts["suite.md"]
    assert "| plain | adam | 2 | 0.9800 ± 0.0141 | 0.9700 ± 0.0141 | 3.5 | 10.0 |" in page
    assert "| dropout | sgd | 1 | 0.9400 | 0.9300 | 3.0 | 10.0 |" in page
    assert "best on validation: plain with adam, accuracy 0.9800 ± 0.0141 (n = 2)." in page
    assert "1 failed:\n\n- dropout rmsprop seed 0: train_loss is nan" in page
    for figure in report.figures.values():
        picture = io.BytesIO()
        figure.savefig(picture)
        assert picture.getvalue().startswith(PNG)


def test_the_heat_map_has_a_cell_per_combination_even_where_all_runs_failed() -> None:
    heat_map = report_suite(TRIALS[TRIALS["run_id"] != "dropout-adam-0.93"], FACTORS).figures[
        "figures/heat_map.png"
    ]
    texts = [text.get_text() for text in heat_map.axes[0].texts]
    assert texts == ["0.9400", "0.9800\n± 0.0141", "0.9550\n± 0.0071"]


def test_curves_have_a_panel_per_variant_and_a_line_per_optimizer() -> None:
    curves = report_suite(TRIALS, FACTORS).figures["figures/validation_curves.png"]
    assert [axes.get_title() for axes in curves.axes] == ["plain", "dropout"]
    for axes in curves.axes:
        assert len(axes.get_lines()) >= 2
        np.testing.assert_array_equal(axes.get_lines()[0].get_xdata(), [1, 2])
