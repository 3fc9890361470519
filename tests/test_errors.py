import pytest

from trackml.errors import LONGEST_LINE, LONGEST_REASON, first_line, one_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("val_loss is nan\n  in epoch 3 "), "val_loss is nan in epoch 3"),
        (MemoryError(), "MemoryError"),
        (ValueError("  "), "ValueError"),
        (ValueError("x" * 9_999), "x" * LONGEST_REASON),
    ],
)
def test_an_error_is_one_line_that_is_never_empty(error: Exception, line: str) -> None:
    assert one_line(error) == line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("\n  Could not guard\n" + "a page\n" * 99), "RuntimeError: Could not guard"),
        (MemoryError(), "MemoryError"),
        (ValueError("x" * 9_999), "ValueError: " + "x" * LONGEST_LINE),
    ],
)
def test_of_an_error_with_pages_the_first_line_is_shown(error: Exception, line: str) -> None:
    assert first_line(error) == line
