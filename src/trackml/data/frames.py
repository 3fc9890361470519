"""Tables of pandas as arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Number
from typing import TYPE_CHECKING, Any, Required

import numpy as np

from trackml.data.arrays import Array
from trackml.data.checks import Missing, first_few, names_of
from trackml.data.splits import SplitOptions
from trackml.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    Series = pd.Series[Any]

MAX_TEXTS = 1_000  # different ones in a column; more are names or identifiers
_NUMBERS = {"integer", "floating", "mixed-integer-float", "decimal", "boolean"}
_DATES = {"datetime64", "datetime", "date", "timedelta64", "timedelta", "time", "period"}
_DATE = r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})([T ]\d{1,2}:\d{2}.*)?"


class TableOptions(SplitOptions, total=False):
    """What `TableData.from_frame` takes beside the table; `target` is required."""

    target: Required[str]
    classes: Sequence[str] | None
    drop: Sequence[str]
    unit: str
    missing: Missing


@dataclass(frozen=True)
class Decoded:
    """A table as arrays.

    Attributes:
        features: float64 (N, columns): of a text its index in `categories`; nan where missing.
        target: float64 (N,), or int64 (N,), indices of `classes`.
        classes: empty if the target is a quantity.
        categories: column → its texts, sorted.
    """

    features: Array
    target: Array
    columns: tuple[str, ...]
    classes: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]]


def decode(
    frame: "pd.DataFrame",
    source: str,
    target: str,
    classes: Sequence[str] | None = None,
    drop: Sequence[str] = (),
) -> Decoded:
    """Decode a table. Errors begin with `source`, and count rows from 1.

    Args:
        target, classes, drop: as in `TableData.from_frame`, which raises the same errors.
    """
    if isinstance(drop, str):
        raise TypeError(f"drop must be a list of columns. Received: {drop!r}")
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    target, drop = str(target), [str(name) for name in drop]
    _check_names(list(frame.columns), target, drop, source)
    frame = frame.drop(columns=list(drop))
    if not len(frame) or frame.shape[1] < 2:
        raise UsageError(
            f"{source}: expected rows, and columns beside the target. "
            f"Received: {len(frame)} rows, {frame.shape[1] - 1} columns"
        )
    if absent := np.flatnonzero(frame[target].isna()).tolist():
        rows = first_few([f"{row + 1:,}" for row in absent])
        raise UsageError(
            f"{source}: no {target!r} in {len(absent):,} of {len(frame):,} rows ({rows}); "
            "remove those"
        )
    names, labels = _decode_target(
        frame.pop(target), f"{source}: target {target!r}", names_of(classes)
    )
    decoded = {
        str(name): _decode_column(column, f"{source}: column {name!r}")
        for name, column in frame.items()
    }
    return Decoded(
        np.column_stack([values for values, _ in decoded.values()]),
        labels,
        tuple(decoded),
        names,
        {name: texts for name, (_, texts) in decoded.items() if texts},
    )


def joined(tables: "Sequence[pd.DataFrame]", source: str) -> "pd.DataFrame":
    """One table of several. UsageError: they have other columns."""
    import pandas as pd

    for table in tables[1:]:
        if differing := set(table.columns) ^ set(tables[0].columns):
            raise UsageError(
                f"{source}: the test rows must have the same columns; only one of them has "
                f"{first_few(sorted(map(repr, differing)))}"
            )
    return pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]


def _check_names(names: Sequence[str], target: str, drop: Sequence[str], source: str) -> None:
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{source}: each column needs its own name; twice: {first_few(double)}")
    for name in (target, *drop):
        if name not in names:
            near = get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {first_few(names, 20)}"
            raise UsageError(f"{source}: there is no column {name!r}; {hint}")
    if target in drop:
        raise UsageError(f"{source}: {target!r} is the target, and cannot be dropped")


def _decode_target(
    column: "Series", where: str, classes: tuple[str, ...]
) -> tuple[tuple[str, ...], Array]:
    """Classes and labels int64 (N,); or no classes, and float64 (N,)."""
    import pandas as pd

    values, texts = _decode_column(column, where, "choose another target")
    if texts:
        names = classes or texts
        if unknown := [text for text in texts if text not in names]:
            raise UsageError(f"{where} has values that are no classes: {first_few(unknown)}")
        return names, np.array([names.index(text) for text in texts])[values.astype(np.int64)]
    if classes:
        if not np.isin(values, range(len(classes))).all():
            raise UsageError(
                f"{where} must be indices of the {len(classes)} classes, or texts. "
                f"Received: {values.min():g} to {values.max():g}"
            )
        return classes, values.astype(np.int64)
    if pd.api.types.infer_dtype(column) == "boolean":
        truths, labels = np.unique(values, return_inverse=True)
        return tuple(str(bool(truth)) for truth in truths), labels
    return (), values


def _decode_column(
    column: "Series", where: str, advice: str = "leave it out by drop="
) -> tuple[Array, tuple[str, ...]]:
    """Float64 (N,): numbers, and no texts; or the indices of texts, and those.

    Args:
        advice: what to do with a column that cannot be used.
    """
    import pandas as pd

    order: list[str] = []
    if isinstance(column.dtype, pd.CategoricalDtype):  # of integers too
        order = [str(category) for category in column.dtype.categories]
        column = column.astype(object).map(str, na_action="ignore")
    present = column.notna().to_numpy()
    if not present.any():
        raise UsageError(f"{where} has no values; {advice}")
    kind = pd.api.types.infer_dtype(column)
    if kind.startswith("mixed"):
        kind = _kind_of_mixed(column, where)
    row = int(present.argmax())
    example = f"such as {str(column.iloc[row])!r} in row {row + 1:,}"
    if kind in _DATES or (kind == "string" and column[present].str.fullmatch(_DATE).all()):
        raise UsageError(
            f"{where} has dates, {example}; make numbers of them, such as year and month, "
            f"or {advice}"
        )
    if kind in _NUMBERS:
        return column.to_numpy(np.float64, na_value=np.nan), ()
    if kind != "string":
        raise UsageError(f"{where} has values of type {kind}, {example}; expected numbers or texts")
    different = set(column[present])
    texts = tuple(text for text in order or sorted(different) if text in different)
    if len(texts) > MAX_TEXTS or len(texts) == present.sum():
        raise UsageError(
            f"{where} has {len(texts):,} different texts in {present.sum():,} rows, {example}: "
            f"that looks like an identifier; {advice}"
        )
    indices = pd.Categorical(column, categories=texts).codes.astype(np.float64)
    return np.where(present, indices, np.nan), texts


def _kind_of_mixed(column: "Series", where: str) -> str:
    """The kind of a column with objects of several types. UsageError: numbers and texts."""
    is_text = np.array([isinstance(value, str) for value in column])
    is_number = np.array([isinstance(value, Number) for value in column])
    present = column.notna().to_numpy()
    refuse_mixed(column, is_text, is_number & present, where)
    others = column[present & ~is_text & ~is_number]
    return type(others.iloc[0]).__name__ if len(others) else "decimal"


def refuse_mixed(column: "Series", is_text: Array, is_number: Array, where: str) -> None:
    """UsageError: some values are texts, others numbers; it names the first of the fewer ones.

    Args:
        is_text, is_number: bool (N,).
    """
    if not (is_text.any() and is_number.any()):
        return
    texts_are_fewer = is_text.sum() <= is_number.sum()
    row = int((is_text if texts_are_fewer else is_number).argmax())
    most = "numbers" if texts_are_fewer else "texts"
    raise UsageError(
        f"{where} mixes numbers and texts: row {row + 1:,} is {str(column.iloc[row])!r}, where "
        f"most are {most}; correct it, or read all as texts (pandas: astype(str))"
    )
