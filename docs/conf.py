"""The documentation site, made by `make docs`: Sphinx with MyST, from the Markdown files."""

import re
from os.path import normpath, relpath
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "trackml"
author = "the trackml authors"
html_title = "trackml"
html_theme = "furo"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxcontrib.mermaid"]
exclude_patterns = ["images"]
nb_execution_mode = "off"  # a test runs the notebook
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 3
autodoc_typehints = "description"

ROOT = Path(__file__).parents[1]
OUTSIDE = {  # page of the site → file outside docs/
    "index": "README.md",
    "benchmarks": "benchmarks/README.md",
    "changelog": "CHANGELOG.md",
    "contributing": "CONTRIBUTING.md",
}


def setup(app: "Sphinx") -> None:
    """Let pages of the site be files outside docs/, with links that lead to pages."""
    app.connect("source-read", _read)


def _read(_app: "Sphinx", page: str, source: list[str]) -> None:
    folder = Path("docs", page).parent
    if page in OUTSIDE:
        file = ROOT / OUTSIDE[page]
        source[0], folder = file.read_text(encoding="utf-8") + source[0], Path(OUTSIDE[page]).parent

    pages = {path: f"docs/{name}.md" for name, path in OUTSIDE.items()}

    def link(match: re.Match[str]) -> str:
        target = normpath(folder / match[1])
        target = pages.get(target, target)
        return f"]({relpath(target, Path('docs', page).parent)}{match[2] or ''})"

    source[0] = re.sub(r"\]\((?![a-z]+:)([^)#\s]+)(#[^)\s]*)?\)", link, source[0])
