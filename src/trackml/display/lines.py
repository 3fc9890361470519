"""Lines that fit: into a terminal, or into 80 columns."""

import os
import re
import sys
import textwrap
from collections.abc import Sequence

from rich.console import Console

WIDTH = 80  # characters of a line, into a file or a pipe
_WORD = re.compile(r"""(?:[^\s'"]|'[^']*'|"[^"]*")+""")  # of a command, as it is quoted

Versions = Sequence[Sequence[str]]
"""A line in versions, each a list of its parts: the first that fits is shown, or the last."""


def line_width() -> int | None:
    """The characters of a line, of the terminal or as COLUMNS says; None into a file or a pipe."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit():
        return Console().width
    return None


def width() -> int:
    """The characters that a line may have."""
    return line_width() or WIDTH


def wrapped(text: str, first: str = "", rest: str = "  ") -> str:
    """A text in lines that fit; no path, address or other word is cut.

    >>> print(wrapped("no word is cut", "note     ", "         "))
    note     no word is cut
    """
    return textwrap.fill(
        text,
        width(),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def wrapped_command(command: str, first: str = "  ") -> str:
    """A command in lines that fit, and that a shell takes as one.

    >>> print(wrapped_command("mlflow run . -P 'space=a b'"))
      mlflow run . -P 'space=a b'
    """
    lines, indent, parts = [first], " " * len(first), [""]
    for word in _WORD.findall(command):
        if parts[-1].startswith("-") and " " not in parts[-1] and not word.startswith("-"):
            parts[-1] += f" {word}"  # a flag and its value
        else:
            parts.append(word)
    for part in parts[1:]:
        if len(lines[-1]) + len(part) + len(" \\") > width() and lines[-1] != first:
            lines[-1] += "\\"
            lines.append(f"{indent}    ")
        lines[-1] += f"{part} "
    return "\n".join(line.rstrip() for line in lines)


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(9.4), duration(600), duration(9000)
    ('9 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def fitting(versions: Versions, room: int) -> str:
    """The first version that has room, or the last."""
    lines = ["  ".join(parts) for parts in versions]
    return next((line for line in lines if len(line) <= room), lines[-1])


def fitted(versions: Versions, room: int) -> str:
    """The first version that has room, or the last one in several lines."""
    line = fitting(versions, room)
    return line if len(line) <= room else wrapped(line, rest=" " * 4)
