"""Read figures back."""

from collections.abc import Iterable

from matplotlib.figure import Figure
from matplotlib.text import Text

from trackml.evaluation.report import Report


def drawn(report: Report) -> set[str]:
    """The names of a report's figures, each of which can be saved as PNG."""
    made = {path: report.content_of(path) for path in report.figures}
    for content in made.values():
        assert content is None or content.startswith(b"\x89PNG\r\n\x1a\n")
    return {
        path.removeprefix("figures/").removesuffix(".png")
        for path, content in made.items()
        if content
    }


def figure_of(report: Report, path: str) -> Figure:
    figure = report.figures[path]()
    assert figure
    return figure


def text_of(report: Report, path: str) -> str:
    text = report.texts[path]()
    assert text
    return text


def words(texts: Iterable[Text]) -> list[str]:
    return [text.get_text() for text in texts]
