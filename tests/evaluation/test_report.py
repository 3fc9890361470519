"""Tables as people read them."""

import io

import pandas as pd
from rich.console import Console

from trackml.evaluation.report import Report, Table, number_of, spread_of, text_of

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


def test_a_narrow_terminal_breaks_texts_but_no_numbers() -> None:
    out = Console(width=42)
    with out.capture() as capture:
        out.print(TABLE.as_rich())
    shown = capture.get()
    assert "0.5000 ± 0.1250" in shown
    assert "two words" not in shown
    assert "words" in shown


def test_reports_merge_and_the_second_one_wins() -> None:
    merged = Report({"a": 1, "b": 1}, {"x": "1"}) | Report({"b": 2, "c": 2}, {"y": "2"})
    assert merged == Report({"a": 1, "b": 2, "c": 2}, {"x": "1", "y": "2"})
