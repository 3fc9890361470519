"""CSV and Parquet files as tables of pandas."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackml.data.checks import first_few
from trackml.data.frames import refuse_mixed
from trackml.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd


def read_csv(path: Path, separator: str, decimal: str) -> "pd.DataFrame":
    """Read a CSV file in UTF-8 whose first line has the columns' names.

    UsageError: there is no such file, it is no CSV, two columns share a name, or one has numbers
    and texts.
    """
    import pandas as pd

    _require_file(path)
    options: dict[str, Any] = {"sep": separator, "decimal": decimal, "low_memory": False}
    try:
        header = pd.read_csv(path, **options, header=None, nrows=1, dtype=str)
        frame: pd.DataFrame = pd.read_csv(path, **options)
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
    for name, column in frame.items():
        if isinstance(column.dtype, pd.StringDtype):
            is_number = pd.to_numeric(column, errors="coerce").notna()
            is_text = ~is_number & column.notna()
            where = f"{path}: column {name!r}"
            refuse_mixed(column, is_text.to_numpy(), is_number.to_numpy(), where)
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
