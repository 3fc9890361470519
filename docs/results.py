"""Write the tables of results and their figure from docs/results.csv: `make results`."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from matplotlib.figure import Figure
from pydantic import BaseModel, BeforeValidator, ConfigDict

from trackml.evaluation.figures.axes import FIRST, SECOND, THIRD, canvas, finish

ROOT = Path(__file__).parents[1]
BEGIN = "<!-- by `make results`, from docs/results.csv -->\n"
END = "<!-- the end of what `make results` writes -->\n"
SOURCES = {
    "an": "[An 2020](https://arxiv.org/abs/2008.10400)",
    "gorishniy": "[Gorishniy 2023](https://arxiv.org/abs/2307.14338)",
    "lecun": "[LeCun 1998](https://doi.org/10.1109/5.726791)",
    "simard": "[Simard 2003](https://doi.org/10.1109/ICDAR.2003.1227801)",
    "tanveer": "[Tanveer 2020](https://arxiv.org/abs/2006.09042)",
}

Number = Annotated[float | None, BeforeValidator(lambda text: text or None)]


class Row(BaseModel):
    """A command and its scores on the test set, accuracy or RMSE.

    Attributes:
        documents: what they say. recipe: what their recipe reached here, where they say nothing.
        today: the mean over n seeds. std: the standard deviation over them.
        also: further scores. seconds: of one whole run.
        best: the best that is known for such a model, from SOURCES[source].
        in_readme: whether README shows it.
    """

    model_config = ConfigDict(frozen=True)

    command: str
    model: str
    metric: str
    documents: Number
    recipe: Number
    today: float
    std: Number
    n: int
    also: str
    seconds: Number
    best: Number
    source: str
    in_readme: bool

    @property
    def entry_point(self) -> str:
        """The command, and a link to its parameters."""
        name, *parameters = self.command.split(" ", 1)
        link = f"[`{name}`](docs/reference.md#{name})"
        return " ".join([link, *(f"`{text}`" for text in parameters)])

    @property
    def documented(self) -> str:
        """What the documents say; with a star what their recipe reached here."""
        return f"{self.recipe:.4f} \\*" if self.recipe else f"{self.documents or '':}"

    @property
    def reached(self) -> str:
        """Today's score, its spread, and further scores."""
        spread = f" ± {self.std:.4f}" if self.std else ""
        return f"**{self.today:.4f}**{spread}" + (f"; {self.also}" if self.also else "")

    @property
    def best_known(self) -> str:
        """The best that is known, and where from."""
        return f"{self.best:.4f}, {SOURCES[self.source]}" if self.best else ""

    @property
    def reference(self) -> float | None:
        """The documents' score, or that of their recipe."""
        return self.documents or self.recipe

    def error(self, score: float | None) -> float:
        """1 - accuracy, or the RMSE, as a share of that of the documents; NaN if one is unknown."""
        if not (score and self.reference):
            return float("nan")
        if self.metric == "RMSE":
            return score / self.reference
        return (1 - score) / (1 - self.reference)


def results() -> list[Row]:
    """The rows of docs/results.csv."""
    with (ROOT / "docs/results.csv").open(encoding="utf-8") as file:
        return [Row.model_validate(row) for row in csv.DictReader(file)]


def table(rows: Sequence[Row]) -> str:
    """The table of docs/results.md: all rows."""
    head = ["model", "command", "", "documents", "today", "n", "time", "best known"]
    return _table(
        head,
        [
            [
                *(row.model, f"`{row.command}`", row.metric, row.documented, row.reached),
                *(str(row.n), _duration(row.seconds), row.best_known),
            ]
            for row in rows
        ],
    )


def overview(rows: Sequence[Row]) -> str:
    """README's table: the rows that are shown there, without further scores."""
    head = ["entry point", "model", "documents", "today (n)", "best known", "time"]
    return _table(
        head,
        [
            [
                *(row.entry_point, row.model, row.documented),
                *(f"{row.reached} ({row.n})", row.best_known, _duration(row.seconds)),
            ]
            for row in rows
            if row.in_readme
        ],
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _duration(seconds: float | None) -> str:
    if not seconds:
        return ""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"


def figure(rows: Sequence[Row]) -> Figure:
    """Errors of today's models, and of the best known, as shares of those of the documents."""
    rows = [row for row in rows if row.reference]
    places = range(len(rows))
    drawing, axes = canvas(9, 1.6 + 0.3 * len(rows))
    axes.axvline(1, color=THIRD, linestyle="--", label="the documents")
    today = [row.error(row.today) for row in rows]
    axes.plot(today, places, "o", color=FIRST, label="trackml")
    best = [row.error(row.best) for row in rows]
    axes.plot(best, places, "D", color=SECOND, markersize=4, label="best known for such a model")
    axes.set_xscale("log")
    ticks = (0.05, 0.1, 0.2, 0.5, 1)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(places, [row.model for row in rows])
    drawing.legend(loc="outside upper center", ncols=3, frameon=False)
    finish(
        axes,
        lines=True,
        xlabel="error on the test set (1 - accuracy, or RMSE), as a share of the documents'",
        ylim=(len(rows) - 0.5, -0.5),
    )
    return drawing


def with_table(page: str, table: str) -> str:
    """The text of a page with this table in the place of the one that it has."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


if __name__ == "__main__":
    rows = results()
    for path, written in {"README.md": overview(rows), "docs/results.md": table(rows)}.items():
        page = (ROOT / path).read_text(encoding="utf-8")
        (ROOT / path).write_text(with_table(page, written), encoding="utf-8")
    figure(rows).savefig(ROOT / "docs/images/results.png")
