"""Tables as people read them."""

import io
import json
import math

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from trackml.evaluation.report import Report, Table, as_json, number_of, spread_of, text_of

NAN = float("nan")
DATA = pd.DataFrame(
    {
        "name": ["a|b\nc", "two words", "third"],
        "loss_mean": [0.5, 0.25, NAN],
        "loss_std": [0.125, NAN, NAN],
        "bytes": [2e6, NAN, 1e6],
        "change": [-0.5, 0.25, 0.0],
    }
)
NUMBERS = {"MB": number_of("bytes", ",.1f", 1e6), "change": number_of("change", "+.2f")}
COLUMNS = {"name": text_of("name"), "loss": spread_of("loss"), **NUMBERS}
TABLE = Table("losses", DATA, COLUMNS, max_rows=2, notes=["a note"])


def test_markdown_has_the_first_rows_with_numbers_to_the_right_and_the_notes() -> None:
    assert TABLE.as_markdown().splitlines() == [
        "| name | loss | MB | change |",
        "| --- | ---: | ---: | ---: |",
        "| a\\|b c | 0.5000 ± 0.1250 | 2.0 | -0.50 |",
        "| two words | 0.2500 | - | +0.25 |",
        "",
        "- a note",
    ]
    assert Table("empty", DATA.head(0), COLUMNS).as_markdown().count("\n") == 1


def test_csv_has_all_data_unrounded() -> None:
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(TABLE.as_csv())), DATA)


def shown(table: Table, width: int) -> str:
    out = Console(width=200)
    with out.capture() as capture:
        out.print(table.as_rich(width))
    return capture.get()


def test_a_narrow_terminal_breaks_texts_but_no_numbers() -> None:
    lines = shown(TABLE, 42).splitlines()
    assert max(map(len, lines)) <= 42
    assert any("0.5000 ± 0.1250" in line for line in lines)
    assert "two words" not in "".join(lines)
    assert any("words" in line for line in lines)


def test_no_table_is_too_narrow_for_its_words_and_numbers() -> None:
    least = TABLE.min_width
    assert shown(TABLE, 10) == shown(TABLE, least)
    assert {len(line) for line in shown(TABLE, least).splitlines()[1:]} == {least}
    assert "…" not in shown(TABLE, 10)
    assert "two words" in shown(TABLE, least + 4)


def test_the_first_texts_get_the_room_that_there_is() -> None:
    ids, why = ["0123456789abcdef" * 2, "b"], ["continued by " + "f" * 32, "a b " * 30]
    data = pd.DataFrame({"run": ids, "what": ["x y", "z"], "why": why})
    table = Table(
        "runs", data, {"run": text_of("run"), "what": text_of("what"), "why": text_of("why")}
    )
    for line, text in zip(shown(table, 90).splitlines()[4:], (ids[0], "f" * 32), strict=False):
        assert text in line
    assert "x y" in shown(table, 90)


def test_blocks_have_a_line_per_cell_or_more_where_it_is_long() -> None:
    assert TABLE.as_blocks(80).splitlines() == [
        "losses",
        "",
        "name    a|b c",
        "loss    0.5000 ± 0.1250",
        "MB      2.0",
        "change  -0.50",
        "",
        "name    two words",
        "loss    0.2500",
        "MB      -",
        "change  +0.25",
    ]
    long = Table("", pd.DataFrame({"why": ["many words " * 9]}), {"why": text_of("why")})
    *_, one, _ = lines = long.as_blocks(30).splitlines()
    assert one == "     many words many words"
    assert max(map(len, lines)) <= 30


def test_json_has_null_for_what_it_has_no_number_for() -> None:
    epochs = [{"val_own": np.float64("nan"), "val_loss": 0.5, "n": 2}]
    text = as_json({"epochs": epochs, "counts": (1.0, -math.inf), "stopped": ""})
    assert json.loads(text, parse_constant=pytest.fail) == {
        "epochs": [{"val_own": None, "val_loss": 0.5, "n": 2}],
        "counts": [1.0, None],
        "stopped": "",
    }


def test_reports_merge_and_the_second_one_wins() -> None:
    one, two = (lambda: "1"), (lambda: "2")
    merged = Report({"a": 1, "b": 1}, {"x": one}) | Report({"b": 2, "c": 2}, {"y": two})
    assert merged == Report({"a": 1, "b": 2, "c": 2}, {"x": one, "y": two})


def test_a_figure_of_another_kind_than_png_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Received: figures/curve\.svg"):
        Report(figures={"figures/curve.svg": lambda: None})
