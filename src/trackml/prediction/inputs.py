"""What a model is given: files, arrays and tables, checked against its signature, in batches."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trackml.data.table_files import parse_csv, read_parquet
from trackml.errors import TrackmlError, UsageError, one_line
from trackml.prediction.images import image_files, read_pixels

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

Array = NDArray[Any]
Batch = Array | pd.DataFrame

BATCH_BYTES = 32_000_000
BATCH_ROWS = 10_000
_TRUTH = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True)
class ImageInput:
    """A model takes uint8 (N, *shape): height, width, perhaps channels; -1 is any."""

    shape: tuple[int, ...]

    def __str__(self) -> str:
        sides = [str(side) if side > 0 else "any" for side in self.shape]
        return f"uint8 (N, {', '.join(sides)})"


@dataclass(frozen=True)
class TableInput:
    """A model takes columns by name, of numbers or of texts."""

    numbers: tuple[str, ...]
    texts: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """The names of all columns."""
        return [*self.numbers, *self.texts]

    def __str__(self) -> str:
        return f"a table with the columns {', '.join(self.columns)}"


@dataclass(frozen=True)
class Inputs:
    """What a model is to answer, in batches.

    Attributes:
        labels: of all inputs, in order: the names of files, or numbers of rows.
    """

    labels: pd.Index
    batches: Iterator[Batch]


def input_of(signature: "ModelSignature | None") -> ImageInput | TableInput:
    """What the models of trackml with this signature take.

    Raises:
        TrackmlError: no pipeline of trackml writes such a signature.
    """
    specs: Sequence[Any] = signature.inputs.inputs if signature and signature.inputs else []
    names = [spec.name for spec in specs]
    if len(specs) == 1 and names == [None] and specs[0].type == np.uint8:
        return ImageInput(tuple(specs[0].shape[1:]))
    if not specs or None in names:
        raise TrackmlError(f"expected a model that takes images or named columns; it takes {specs}")
    texts = tuple(spec.name for spec in specs if spec.type == np.dtype(object))
    return TableInput(tuple(name for name in names if name not in texts), texts)


def read_inputs(
    wanted: ImageInput | TableInput,
    given: object,
    *,
    resize: bool = False,
    separator: str = ",",
    decimal: str = ".",
) -> Inputs:
    """The inputs in an array, a DataFrame, or a file or folder by its path.

    >>> images = np.zeros((3, 28, 28), np.uint8)
    >>> [len(batch) for batch in read_inputs(ImageInput((28, 28)), images).batches]
    [3]

    Args:
        resize: convert images to the size and mode that the model takes.
        separator, decimal: as a CSV file has them.

    Raises:
        UsageError: they are not what the model takes, or cannot be read.
    """
    name = str(given) if isinstance(given, str | Path) else "the inputs"
    if isinstance(given, str | Path):
        given = _read(Path(given), wanted, separator, decimal)
    match given, wanted:
        case pd.DataFrame(), TableInput():
            return _table_inputs(wanted, given, name)
        case np.ndarray(), ImageInput():
            return _array_inputs(wanted, given, name)
        case Path(), ImageInput():
            return _image_inputs(wanted, given, resize=resize)
    match given:
        case Path():
            kind = "a folder" if given.is_dir() else f"a file {given.suffix}".rstrip()
            received = f"{kind}; tables are read from .csv and .parquet"
        case pd.DataFrame():
            received = "a table"
        case np.ndarray():
            received = f"{given.dtype} {given.shape}"
        case _:
            received = type(given).__name__
    raise UsageError(f"{name}: the model takes {wanted}; received: {received}")


def _read(
    path: Path, wanted: ImageInput | TableInput, separator: str, decimal: str
) -> Path | Array | pd.DataFrame:
    """An array or a table; of images their path."""
    if not path.exists():
        raise UsageError(f"{path}: there is no such file or folder")
    if path.is_dir():
        return path
    match path.suffix.lower():
        case ".csv":
            texts = wanted.texts if isinstance(wanted, TableInput) else ()
            return parse_csv(path, separator, decimal, texts)
        case ".parquet":
            return read_parquet(path)
        case ".npy":
            try:
                array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise UsageError(f"{path} cannot be read as NPY: {one_line(error)}") from None
            return array
    return path


def _batch_rows(bytes_per_row: int) -> int:
    return max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, bytes_per_row)))


def _array_inputs(wanted: ImageInput, images: Array, name: str) -> Inputs:
    fits = len(images.shape) == len(wanted.shape) + 1 and all(
        size in (side, max(size, 1) if side < 0 else side)
        for size, side in zip(images.shape[1:], wanted.shape, strict=True)
    )
    if images.dtype != np.uint8 or not fits or not len(images):
        hint = "; a single image is a batch of one" if images.ndim == len(wanted.shape) else ""
        if images.dtype != np.uint8:
            hint = "; pixels go in raw, as integers from 0 to 255"
        raise UsageError(f"{name}: expected {wanted}, received {images.dtype} {images.shape}{hint}")
    rows = _batch_rows(images[0].nbytes)
    starts = range(0, len(images), rows)
    return Inputs(
        pd.RangeIndex(len(images), name="row"),
        (np.asarray(images[start : start + rows]) for start in starts),
    )


def _image_inputs(wanted: ImageInput, path: Path, *, resize: bool) -> Inputs:
    files = image_files(path) if path.is_dir() else [path]
    folder = path if path.is_dir() else path.parent
    names = [file.relative_to(folder).as_posix() for file in files]

    def batches() -> Iterator[Batch]:
        batch: list[Array] = []
        for file in files:
            image = read_pixels(file, wanted.shape, resize=resize)
            full = batch and len(batch) >= _batch_rows(image.nbytes)
            if full or (batch and image.shape != batch[0].shape):  # where any size will do
                yield np.stack(batch)
                batch = []
            batch.append(image)
        yield np.stack(batch)

    return Inputs(pd.Index(names, name="file"), batches())


def _table_inputs(wanted: TableInput, table: pd.DataFrame, name: str) -> Inputs:
    if not len(table):
        raise UsageError(f"{name}: the table has no rows")
    table = table.rename(columns=str)
    for column in wanted.columns:
        if column not in table:
            near = get_close_matches(column, table.columns, n=1) or [
                each for each in table.columns if each.strip().lower() == column.lower()
            ]
            hint = f"is {near[0]!r} meant?" if near else f"it has {', '.join(table.columns)}"
            raise UsageError(f"{name}: there is no column {column!r}; {hint}")
        if isinstance(table[column], pd.DataFrame):
            raise UsageError(f"{name}: there are several columns {column!r}; expected one")
    columns = {column: _numbers(table[column], name) for column in wanted.numbers}
    columns |= {column: _texts(table[column]) for column in wanted.texts}
    # MLflow refuses a table whose index lacks 0.
    checked = pd.DataFrame(columns).reset_index(drop=True)
    rows = _batch_rows(8 * len(wanted.columns))
    labels = table.index if table.index.name else table.index.rename("row")
    return Inputs(
        labels,
        (
            checked.iloc[start : start + rows].reset_index(drop=True)
            for start in range(0, len(table), rows)
        ),
    )


def _numbers(column: "pd.Series[Any]", name: str) -> "pd.Series[Any]":
    numbers = pd.to_numeric(column, errors="coerce")
    if not pd.api.types.is_numeric_dtype(column.dtype):
        # A file with true and 1 in a column has texts there.
        numbers = numbers.fillna(column.astype(str).str.lower().map(_TRUTH))
    wrong = column[numbers.isna() & column.notna()]
    if len(wrong):
        value = wrong.iloc[0]
        is_comma = re.fullmatch(r"-?\d+,\d+", str(value))
        hint = f"; --decimal , reads {value} as a number" if is_comma else ""
        raise UsageError(
            f"{name}: column {column.name!r}: expected numbers, received {value!r}{hint}"
        )
    return numbers.astype(np.float64)


def _texts(column: "pd.Series[Any]") -> "pd.Series[Any]":
    texts = column.astype(object)
    return texts.where(texts.isna(), texts.map(str)).where(texts.notna(), np.nan)
