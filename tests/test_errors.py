import pytest

from trackml.errors import LONGEST_REASON, one_line


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
