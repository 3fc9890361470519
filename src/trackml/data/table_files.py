"""CSV and Parquet files as tables of pandas."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackml.data.checks import first_few
from trackml.data.frames import refuse_mixed
from trackml.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

_DECIMAL_COMMA = r"-?\d+(,\d+)?"


def read_csv(path: Path, separator: str, decimal: str) -> "pd.DataFrame":
    """Read a CSV file as `parse_csv` does, and check the kinds of its columns.

    UsageError: also if a column has numbers and texts, or numbers with a decimal comma as texts.
    """
    import pandas as pd

    frame = parse_csv(path, separator, decimal)
    for name, column in frame.items():
        if not isinstance(column.dtype, pd.StringDtype):
            continue
        where = f"{path}: column {name!r}"
        present = column.dropna()
        has_comma = present[present.str.contains(",")]
        if decimal == "." and len(has_comma) and present.str.fullmatch(_DECIMAL_COMMA).all():
            raise UsageError(
                f"{where} has numbers with a decimal comma, such as {has_comma.iloc[0]!r}; "
                "try decimal=','"
            )
        is_number = pd.to_numeric(column, errors="coerce").notna()
        is_text = ~is_number & column.notna()
        refuse_mixed(column, is_text.to_numpy(), is_number.to_numpy(), where)
    return frame


def parse_csv(
    path: Path, separator: str, decimal: str, texts: Collection[str] = ()
) -> "pd.DataFrame":
    """Parse a CSV file in UTF-8 whose first line has the columns' names.

    A value is missing where its field is empty, or has a text that pandas takes for that, such as
    NA, N/A, NaN, null or None.

    Args:
        texts: columns to read as texts, also where they look like numbers: 007 stays 007.

    Raises:
        UsageError: there is no such file, it is no CSV, or columns share a name or have none.
    """
    import pandas as pd

    _require_file(path)
    for name, value in {"separator": separator, "decimal": decimal}.items():
        if len(value) != 1:
            raise UsageError(f"{name}={value!r}: expected one character")
    options: dict[str, Any] = {"sep": separator, "decimal": decimal, "low_memory": False}
    try:
        header = pd.read_csv(path, **options, header=None, nrows=1, dtype=str)
        frame: pd.DataFrame = pd.read_csv(path, **options, dtype=dict.fromkeys(texts, str))
    # A file that is empty, or has rows of several lengths, is a ValueError to pandas.
    except (ValueError, OSError) as error:
        raise UsageError(f"{path} cannot be read as CSV in UTF-8: {_first_line(error)}") from error
    names = header.iloc[0].fillna("").tolist()
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{path}: each column needs its own name; twice: {first_few(double)}")
    if not isinstance(frame.index, pd.RangeIndex):
        raise UsageError(f"{path}: its rows have more fields than its first line has names")
    if len(names) == 1 and (others := [each for each in ",;\t|" if each in names[0]]):
        raise UsageError(f"{path} has one column, {names[0]!r}; try separator={others[0]!r}")
    if "" in names:
        raise UsageError(
            f"{path}: column {names.index('') + 1} has no name; write one, or remove it"
        )
    return frame


def read_parquet(path: Path) -> "pd.DataFrame":
    """Read a Parquet file. UsageError: there is no such file, or it is no Parquet file."""
    import pandas as pd
    import pyarrow as pa

    _require_file(path)
    try:
        return pd.read_parquet(path)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise UsageError(f"{path} cannot be read as Parquet: {_first_line(error)}") from error


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise UsageError(f"{path} is no file" if path.exists() else f"{path} does not exist")


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
