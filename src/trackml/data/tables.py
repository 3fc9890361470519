"""Tables with one target in three splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np
from numpy.typing import ArrayLike

from trackml.data.arrays import Array, Floats, arrays_sha256
from trackml.data.checks import Missing, checked_table, names_of, require_finite
from trackml.data.frames import TableOptions, decode, joined
from trackml.data.splits import SplitOptions, split
from trackml.data.table_files import read_csv, read_parquet
from trackml.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TableSplit:
    """features: float32 (N, columns). target: float32 (N,), or int64 (N,), indices of `classes`."""

    features: Floats
    target: Array

    @property
    def arrays(self) -> tuple[Floats, Array]:
        """Inputs and targets, as training takes them."""
        return self.features, self.target

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True)
class TableData:
    """A dataset of columns and one target. `sha256` identifies its content and its test rows.

    Attributes:
        columns: names of the features, in order.
        unit: of the target; empty if it has none.
        classes: the names that the target indexes; empty if it is a quantity.
        categories: of each column of texts, those texts, which its values index.
        missing: "impute" if values may be missing, as nan: the model has to fill them.
    """

    name: str
    train: TableSplit
    validation: TableSplit
    test: TableSplit
    columns: tuple[str, ...]
    target_name: str
    unit: str
    sha256: str
    source: str
    classes: tuple[str, ...] = ()
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: Missing = "refuse"

    def as_frame(self, features: Array) -> "pd.DataFrame":
        """Features (N, columns) as a person writes them: numbers float32, texts as objects.

        >>> import pandas as pd
        >>> frame = pd.DataFrame({"town": ["York", "Bath"] * 5, "rooms": range(10), "price": 1.5})
        >>> data = TableData.from_frame("homes", frame, target="price", keep_order=True)
        >>> data.as_frame(data.test.features)
           town  rooms
        0  York    8.0
        1  Bath    9.0
        """
        import pandas as pd

        columns = {}
        for number, name in enumerate(self.columns):
            values = features[:, number]
            if texts := self.categories.get(name):
                known = np.isfinite(values)
                written = np.full(len(values), np.nan, object)
                written[known] = np.array(texts, object)[values[known].astype(np.int64)]
                columns[name] = pd.Series(written, dtype=object)
            else:
                columns[name] = pd.Series(values, dtype=np.float32)
        return pd.DataFrame(columns)

    @classmethod
    def from_arrays(
        cls,
        name: str,
        train: tuple[ArrayLike, ArrayLike],
        test: tuple[ArrayLike, ArrayLike] | float = 0.2,
        *,
        columns: Sequence[str],
        target_name: str = "target",
        unit: str = "",
        classes: Sequence[str] = (),
        categories: Mapping[str, Sequence[str]] | None = None,
        missing: Missing = "refuse",
        source: str = "arrays in memory",
        sha256: str | None = None,
        **options: Unpack[SplitOptions],
    ) -> "TableData":
        """Split as `ImageData.from_arrays` does, with the same errors.

        >>> homes = np.ones((100, 2)), np.ones(100)
        >>> data = TableData.from_arrays("homes", homes, columns=["rooms", "age"])
        >>> data.train.features.shape, data.test.target.shape
        ((72, 2), (20,))

        Args:
            train: features (N, columns), numbers, and target (N,): numbers, or with `classes`
                integers, their indices.
            test: the same, or the fraction of `train` that is held out.
            categories: column → texts, whose indices its values are.
            missing: "refuse" nan in features, or let the model "impute" it.
            options: how rows are split, as in `SplitOptions`.

        Raises:
            UsageError: also if values are missing or infinite; it names the columns.
        """
        columns, classes = tuple(columns), names_of(classes)
        texts = {name: names_of(each) for name, each in (categories or {}).items()}
        for kind, names in (("column", [*columns, target_name]), ("class", classes)):
            if len(set(names)) != len(names):
                raise ValueError(f"each {kind} needs its own name. Received: {', '.join(names)}")
        if len(classes) == 1:
            raise UsageError(f"{source}: expected two classes or more. Received: {classes[0]!r}")
        if missing not in {"refuse", "impute"}:
            raise ValueError(f'missing must be "refuse" or "impute". Received: {missing!r}')
        pairs = [train] if isinstance(test, int | float) else [train, test]
        checked = [checked_table(*pair, columns, len(classes), texts) for pair in pairs]
        require_finite(checked, columns, target_name, source, missing)
        held_out = test if isinstance(test, int | float) else checked[1]
        splits = split(checked[0], held_out, classes, **options)
        words = [np.array(each) for each in (classes, *texts.values()) if each]
        return cls(
            name,
            train=TableSplit(*splits.train),
            validation=TableSplit(*splits.validation),
            test=TableSplit(*splits.test),
            columns=columns,
            target_name=target_name,
            unit=unit,
            sha256=sha256 or arrays_sha256(*splits.whole, *words),
            source=source,
            classes=classes,
            categories=texts,
            missing=missing,
        )

    @classmethod
    def from_frame(
        cls,
        name: str,
        frame: "pd.DataFrame",
        test: "pd.DataFrame | float" = 0.2,
        *,
        target: str,
        classes: Sequence[str] | None = None,
        drop: Sequence[str] = (),
        unit: str = "",
        missing: Missing = "refuse",
        source: str = "DataFrame in memory",
        **options: Unpack[SplitOptions],
    ) -> "TableData":
        """Take a table whose columns are numbers, truth values (as 0 and 1) or texts.

        >>> import pandas as pd
        >>> frame = pd.DataFrame({"wing": [1.5, 2.5, 3.5] * 9, "kind": ["owl", "tit", "emu"] * 9})
        >>> data = TableData.from_frame("birds", frame, target="kind")
        >>> data.columns, data.classes, len(data.train)
        (('wing',), ('emu', 'owl', 'tit'), 18)

        Args:
            test: a table of its own, or the fraction of the rows that is held out.
            target: a column: of texts, truth values or categories, which become the classes; of
                numbers, a quantity, or with `classes` their indices.
            classes: names of the classes, in order; those of texts are sorted unless given.
            drop: columns to leave out.
            unit: of the target.
            missing: "refuse" missing values, or let the model "impute" them.
            options: how rows are split, as in `SplitOptions`.

        Raises:
            UsageError: the table is empty, has no such column, two of a name, dates, texts that
                look like identifiers, or numbers and texts in one column; rows have no target;
                values are missing or infinite; a split has none of a class. It names them.
        """
        tables = [frame] if isinstance(test, int | float) else [frame, test]
        decoded, rows = decode(joined(tables, source), source, target, classes, drop), len(frame)
        held_out = decoded.features[rows:], decoded.target[rows:]
        return cls.from_arrays(
            name,
            (decoded.features[:rows], decoded.target[:rows]),
            test if isinstance(test, int | float) else held_out,
            columns=decoded.columns,
            target_name=target,
            unit=unit,
            classes=decoded.classes,
            categories=decoded.categories,
            missing=missing,
            source=source,
            **options,
        )

    @classmethod
    def from_csv(
        cls,
        name: str,
        path: str | Path,
        test: str | Path | float = 0.2,
        *,
        separator: str = ",",
        decimal: str = ".",
        **options: Unpack[TableOptions],
    ) -> "TableData":
        """Read a table as `from_frame` takes it from a CSV file in UTF-8, with a line of names.

        Values are missing where a field is empty, or one of NA, N/A, NaN, null, None and the like.

        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp(), "birds.csv")
        >>> size = path.write_text("wing,color,kind\\n" + "1.5,brown,owl\\n2.5,,tit\\n" * 9)
        >>> data = TableData.from_csv("birds", path, target="kind", missing="impute")
        >>> data.categories, data.classes
        ({'color': ('brown',)}, ('owl', 'tit'))

        Args:
            test: a file of its own, or the fraction of the rows that is held out.
            separator, decimal: as the file has them.
            options: as in `from_frame`.

        Raises:
            UsageError: also if there is no such file, or it is no CSV.
        """

        def read(path: str | Path) -> "pd.DataFrame":
            return read_csv(Path(path), separator, decimal)

        own = test if isinstance(test, int | float) else read(test)
        return cls.from_frame(name, read(path), own, source=str(path), **options)

    @classmethod
    def from_parquet(
        cls,
        name: str,
        path: str | Path,
        test: str | Path | float = 0.2,
        **options: Unpack[TableOptions],
    ) -> "TableData":
        """Read a table as `from_csv` does, with the same arguments, from a Parquet file."""
        own = test if isinstance(test, int | float) else read_parquet(Path(test))
        frame = read_parquet(Path(path))
        return cls.from_frame(name, frame, own, source=str(path), **options)


def raw_rows(data: object, inputs: Array) -> "Array | pd.DataFrame":
    """Inputs (N, ...) of a split as users have them: rows of a table by name, images unchanged."""
    return data.as_frame(inputs) if isinstance(data, TableData) else inputs
