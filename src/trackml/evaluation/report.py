"""Reports: numbers, texts, tables and figures under the names of the tracking contract."""

import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import fill, wrap
from typing import TYPE_CHECKING, Any, Literal

from rich.cells import cell_len

from trackml.backends import standard_settings

if TYPE_CHECKING:
    import pandas as pd
    import rich.table
    from matplotlib.figure import Figure
    from PIL.Image import Image

_CAPTION_PER_INCH = 15  # characters


@dataclass(frozen=True)
class Report:
    """Metrics by name; texts and figures by their path among a run's artifacts.

    Metrics are values. A text or a figure, which becomes a PNG, is a function that makes it, or
    returns None if there is nothing to show: a run that logs the report makes one after the other,
    and goes on without one that cannot be made.

    Raises:
        ValueError: the path of a figure does not end with .png.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    texts: Mapping[str, Callable[[], str | None]] = field(default_factory=dict)
    figures: Mapping[str, Callable[[], "Figure | None"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if other := [path for path in self.figures if not path.endswith(".png")]:
            raise ValueError(
                f"figures are PNG files, such as figures/curve.png. Received: {other[0]}"
            )

    def __or__(self, other: "Report") -> "Report":
        """Both reports in one; of equal names the other's."""
        return Report(
            {**self.metrics, **other.metrics},
            {**self.texts, **other.texts},
            {**self.figures, **other.figures},
        )

    @property
    def paths(self) -> list[str]:
        """The paths of all texts and figures."""
        return [*self.texts, *self.figures]

    def content_of(self, path: str, caption: str = "") -> bytes | None:
        """Make the text or figure of a path, as the content of its file.

        Args:
            caption: below a figure: what it is of.
        """
        if make := self.texts.get(path):
            text = make()
            return None if text is None else text.encode()
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        figure, file = self.figures[path](), io.BytesIO()
        if figure is None:
            return None
        if caption:
            lines = fill(caption, int(_CAPTION_PER_INCH * figure.get_figwidth()))
            figure.supxlabel(lines, fontsize=7, color="0.4")
        # savefig would draw it twice.
        FigureCanvasAgg(figure).print_png(file)  # type: ignore[no-untyped-call]
        return file.getvalue()

    def image(self, path: str) -> "Image":
        """The figure of a path such as "figures/confusion_matrix.png", as a notebook shows it.

        Raises:
            ValueError: the report has no such figure, or there is nothing to show.
        """
        from PIL import Image

        with standard_settings():
            content = self.content_of(path) if path in self.figures else None
        if content is None:
            raise ValueError(f"there is no figure {path}; there are {', '.join(self.figures)}")
        return Image.open(io.BytesIO(content))


Cell = Callable[["pd.Series[Any]"], str]
"""The text of a cell, from a row of data."""


@dataclass(frozen=True)
class Table:
    """A table of numbers, and how people read it.

    Attributes:
        data: a row per row of the table; the CSV has all of it.
        columns: heading → cell.
        max_rows: only the first ones are shown to people.
        notes: lines below the table.
    """

    title: str
    data: "pd.DataFrame"
    columns: Mapping[str, Cell]
    max_rows: int = 1_000
    notes: Sequence[str] = ()

    @property
    def rows(self) -> list[list[str]]:
        """The cells that are shown, row by row."""
        shown = (row for _, row in self.data.head(self.max_rows).iterrows())
        return [[cell(row) for cell in self.columns.values()] for row in shown]

    def as_csv(self) -> str:
        """All data, unrounded."""
        return self.data.to_csv(index=False)

    def as_markdown(self) -> str:
        """The shown rows as a Markdown table, then the notes as a list; without the title."""
        rows = [[" ".join(cell.replace("|", "\\|").split()) for cell in row] for row in self.rows]
        rules = ["---:" if numbers else "---" for numbers in self._are_numbers]
        lines = [f"| {' | '.join(row)} |" for row in [list(self.columns), rules, *rows]]
        return "\n".join([*lines, *[""] * bool(self.notes), *(f"- {note}" for note in self.notes)])

    def as_rich(self, width: int) -> "rich.table.Table":
        """The shown rows with lines around them, which breaks texts into lines, but no words.

        Args:
            width: in characters; the table takes at least `min_width`.
        """
        import rich.table

        widths, spare = self._min_widths, max(width - self.min_width, 0)
        for column, texts in enumerate(self._texts):  # the first ones get all that they need
            longest = max(cell_len(line) for text in texts for line in text.splitlines() or [""])
            more = min(max(longest - widths[column], 0), spare)
            widths[column] += more
            spare -= more
        table = rich.table.Table(
            title=self.title, title_justify="left", width=sum(widths) + 3 * len(widths) + 1
        )
        numbers = self._are_numbers
        for heading, each, is_number in zip(self.columns, widths, numbers, strict=True):
            justify: Literal["left", "right"] = "right" if is_number else "left"
            table.add_column(heading, justify=justify, width=each, overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        return table

    def as_blocks(self, width: int) -> str:
        """The shown rows below each other, each cell in lines of `width` characters.

        It is for a terminal that is too narrow for a table.
        """
        margin = max(map(len, self.columns)) + 2
        lines = [self.title]
        for row in self.rows:
            lines.append("")
            for name, cell in zip(self.columns, row, strict=True):
                first, *more = wrap(cell, max(1, width - margin), break_long_words=False) or [""]
                lines += [f"{name:<{margin}}{first}", *(" " * margin + line for line in more)]
        return "\n".join([*(line.rstrip() for line in lines), ""])

    @property
    def min_width(self) -> int:
        """The characters that `as_rich` needs to keep numbers and words whole."""
        widths = self._min_widths
        return sum(widths) + 3 * len(widths) + 1  # lines and blanks

    @property
    def _min_widths(self) -> list[int]:
        """Of each column, the length of its longest word, or number with its spread."""
        return [
            max(map(cell_len, [*name.split(), *(cells if is_number else " ".join(cells).split())]))
            for (name, *cells), is_number in zip(self._texts, self._are_numbers, strict=True)
        ]

    @property
    def _texts(self) -> list[list[str]]:
        """Of each column, its heading and its cells."""
        return [list(texts) for texts in zip(self.columns, *self.rows, strict=True)]

    @property
    def _are_numbers(self) -> list[bool]:
        """Of each column, whether all its cells begin with a number, or are "-" for unknown."""
        columns = zip(*self.rows, strict=True) if len(self.data) else ([""] for _ in self.columns)
        return [all(re.match(r"[+-]?\d|-$", cell) for cell in column) for column in columns]


def text_of(column: str) -> Cell:
    """A value as it is."""
    return lambda row: str(row[column])


def number_of(column: str, spec: str, unit: float = 1) -> Cell:
    """A number in a unit, by a format such as ",.0f"; "-" for nan."""
    return lambda row: "-" if math.isnan(row[column]) else format(row[column] / unit, spec)


def spread_of(name: str) -> Cell:
    """NAME_mean with NAME_std."""
    return lambda row: with_spread(row[f"{name}_mean"], row[f"{name}_std"])


def with_spread(mean: float, std: float) -> str:
    """A mean with its standard deviation, if there is one; "-" for nan."""
    if math.isnan(mean):
        return "-"
    return f"{mean:.4f}" if math.isnan(std) else f"{mean:.4f} ± {std:.4f}"


def as_json(value: object) -> str:
    """A value as indented JSON; nan and infinity, which JSON does not have, become null."""
    return json.dumps(_finite(value), indent=2, allow_nan=False)


def _finite(value: object) -> object:
    match value:
        case float() if not math.isfinite(value):
            return None
        case Mapping():
            return {name: _finite(each) for name, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
    return value
