"""Find pickles, and Python code that was stored as bytes, in files of any kind. Loads nothing."""

import bz2
import gzip
import lzma
import pickletools
import re
import warnings
import zlib
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import MAGIC_NUMBER
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile, ZipFile, is_zipfile

import numpy as np

_COMPRESSED: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\0": lzma.decompress,
    b"x\x01": zlib.decompress,
    b"x\x5e": zlib.decompress,
    b"x\x9c": zlib.decompress,
    b"x\xda": zlib.decompress,
}
_NOT_COMPRESSED = (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError)
_PROTOCOL = re.compile(rb"\x80[\x02-\x05]")  # how a pickle begins, but for those of text
_IN_TEXT = re.compile(rb"gA[IJMNQRSUVW][\w+/]{8,}={0,2}")  # the same in base64
_LAMBDA = re.compile(rb'"class_name"\s*:\s*"__lambda__"')  # how Keras declares one
_CODE = re.compile(rb"[c\xe3].\0{3}.\0{3}.\0{3}", re.DOTALL)  # marshal's counts of arguments
_GLOBALS = ("GLOBAL", "STACK_GLOBAL", "INST")
# An exported program of PyTorch holds the example that it was traced with. There is no other
# format for it, and MLflow refuses an archive without it. It is read by `weights_only`.
_EXAMPLE = re.compile(r"\.pt2/[^/]+/data/sample_inputs/[^/]+/[^/]+/data\.pkl")
_TENSORS = re.compile(r"torch._utils _rebuild_tensor_v2|torch \w+Storage|collections OrderedDict")


def find_pickles(path: Path) -> Iterator[str]:
    """What in a file, or in all files of a folder, is a pickle or marshaled code: where, and which.

    Archives and compressed files are opened, however deep. A pickle is also found in the midst of
    other bytes, and as base64 in a text; one of text opcodes alone (protocol 0) only if it is the
    whole of a file.

    >>> import tempfile, joblib
    >>> path = Path(tempfile.mkdtemp(), "model.joblib")
    >>> _ = joblib.dump({"weights": [1.0]}, path, compress=True)
    >>> list(find_pickles(path))
    ['model.joblib: a pickle']
    """
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            yield from _scan(name, file.read_bytes())


def _scan(name: str, content: bytes) -> Iterator[str]:
    if is_zipfile(BytesIO(content)):
        with suppress(BadZipFile), ZipFile(BytesIO(content)) as archive:
            for member in archive.namelist():
                yield from _scan(f"{name}/{member}", archive.read(member))
            if content.startswith(b"PK"):
                return
    for magic, decompress in _COMPRESSED.items():
        if content.startswith(magic):
            with suppress(*_NOT_COMPRESSED):
                yield from _scan(name, decompress(content))
                return
    if problem := _problem(name, content):
        yield f"{name}: {problem}"


def _problem(name: str, content: bytes) -> str:
    """What a file without files in it is; "" if it is neither a pickle nor code."""
    if content.startswith(b"\x93NUMPY"):
        return "an array of objects, which is a pickle" if _has_objects(content) else ""
    if _LAMBDA.search(content):
        return "a Python function as bytes (__lambda__)"
    if content.startswith(MAGIC_NUMBER) or _CODE.match(content):
        return "compiled Python code"
    globals_ = _globals_of(content, 0)
    if globals_ is not None:
        is_example = _EXAMPLE.search(name) and all(map(_TENSORS.fullmatch, globals_))
        return "" if is_example else "a pickle"
    if any(
        _globals_of(content, match.start()) is not None for match in _PROTOCOL.finditer(content)
    ):
        return "a pickle within other bytes"
    for match in _IN_TEXT.finditer(content):
        text = match[0][: len(match[0]) // 4 * 4]
        if _globals_of(b64decode(text), 0) is not None:
            return "a pickle in base64"
    return ""


def _has_objects(content: bytes) -> bool:
    stream = BytesIO(content)
    major, _minor = np.lib.format.read_magic(stream)
    read = (
        np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    )
    _shape, _order, dtype = read(stream)
    return bool(dtype.hasobject)


def _globals_of(content: bytes, start: int) -> list[str] | None:
    """The classes and functions that a pickle names, "module name"; None if there is no pickle.

    By chance some bytes can be read as a pickle. One within others must name something, or say how
    long it is; one of text must name something, and be all there is.
    """
    stream = BytesIO(content)
    stream.seek(start)
    named: list[str] = []
    is_certain = start == 0 and _PROTOCOL.match(content) is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes in what may be no text
        try:
            for opcode, argument, _position in pickletools.genops(stream):
                if opcode.name in _GLOBALS:
                    named.append(str(argument))
                elif opcode.name == "FRAME" and isinstance(argument, int):
                    is_certain |= argument <= len(content) - stream.tell()
        except ValueError:  # no opcode
            return None
    if _PROTOCOL.match(content, start):
        return named if is_certain or named else None
    return named if named and not content[stream.tell() :].strip() else None
