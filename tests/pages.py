"""The examples of README and of the pages, as tests take them from there."""

import re
from collections.abc import Mapping

from tests.conftest import ROOT

WITH_COMMANDS = (
    *("compare", "interruptions", "many-runs", "pretrained-weights", "settings", "use-a-model"),
)
"""The pages of docs/ whose commands are run in a fresh clone, after README's."""


def blocks(page: str, language: str) -> list[str]:
    """All examples of a page in a language, from top to bottom."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without the table's own head."""
    _, _, below = (ROOT / page).read_text().partition(f"\n## {heading}\n")
    (table,) = re.findall(r"^\|.*?\n(?=\n)", below, flags=re.DOTALL | re.MULTILINE)[:1]
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


def with_ours(text: str, ours: Mapping[str, str]) -> str:
    """A text of a page with a test's own words for those that stand there."""
    for theirs, our in ours.items():
        assert theirs in text
        text = text.replace(theirs, our)
    return text
