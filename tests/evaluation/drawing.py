"""Read figures back."""

import io
from collections.abc import Iterable

from matplotlib.text import Text

from trackml.evaluation.report import Report


def drawn(report: Report) -> set[str]:
    """The names of a report's figures, each of which can be saved as PNG."""
    for figure in report.figures.values():
        png = io.BytesIO()
        figure.savefig(png)
        assert png.getvalue().startswith(b"\x89PNG\r\n\x1a\n")
    return {path.removeprefix("figures/").removesuffix(".png") for path in report.figures}


def words(texts: Iterable[Text]) -> list[str]:
    return [text.get_text() for text in texts]
