"""Standard output that never fails: nobody may be looking."""

import codecs
import io
import os
import sys
import unicodedata
from contextlib import suppress
from pathlib import Path
from select import select
from typing import Any, TextIO

_READABLE = "trackml.ascii"  # the error handler of encodings
_ASCII = {"±": "+/-", "→": "->", "—": "-"}  # of what an encoding may lack


def accept_all_output() -> None:
    """Let stdout and stderr accept everything from now on: writing to them raises no error.

    What a closed pipe, a closed terminal or a full disk does not take is lost. What the encoding
    lacks is written in ASCII. Streams that are closed are opened on the null device, as the next
    file, such as a database, would get their number. A stream that something else stands in for,
    as in a test or a notebook, is left alone.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
            os.set_inheritable(number, True)
    codecs.register_error(_READABLE, _in_ascii)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _lenient(sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _lenient(sys.stderr)


def _lenient(stream: TextIO | None) -> TextIO:
    """A stream to the same file that accepts everything; None is one that was closed."""
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8", errors="replace")
    if not isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO):
        return stream  # the console of Windows, which gets its texts otherwise
    with suppress(OSError):
        stream.flush()
    raw = io.BufferedWriter(_LenientFile(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(raw, stream.encoding, _READABLE, line_buffering=True)


def write_output(text: str) -> None:
    """Write to stdout what a program was asked for; OSError: stdout did not take it.

    A reader that leaves early, such as `head`, is no error.
    """
    sys.stdout.write(text)
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, _LenientFile) and raw.loss:
        raise raw.loss


class _LenientFile(io.FileIO):
    """A file that claims to have written what it could not write.

    Attributes:
        loss: the first error that was passed over, unless the reader had left.
    """

    loss: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            while (count := super().write(data)) is None:  # it does not block, and is full
                select([], [self], [])
        except BrokenPipeError:
            return len(data)
        except OSError as error:
            self.loss = self.loss or error
            return len(data)
        return count


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """What an encoding lacks, as readable as ASCII has it: an error handler of `codecs`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_ASCII.get(each) or _plain(each) or "?" for each in lacking), error.end


def _plain(character: str) -> str:
    """A letter without its accents, or "" if it is none of ASCII."""
    return unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
