"""Files of images as pixels for a model, read as `ImageData.from_folder` reads them."""

import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from trackml.errors import UsageError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""Those that Pillow decodes itself. For some others, such as EPS, it starts a program."""

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_WORDS = {"L": "gray", "RGB": "RGB", "RGBA": "RGBA"}
# What Pillow raises for damaged files, by format and by what is damaged.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, struct.error)


def image_files(folder: Path) -> list[Path]:
    """The images in a folder and its subfolders, sorted by path; other files are passed over.

    Raises:
        UsageError: there is none.
    """
    Image.init()
    suffixes = {suffix for suffix, kind in Image.EXTENSION.items() if kind in FORMATS}
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in suffixes]
    shown = [path for path in files if not path.name.startswith(".") and path.is_file()]
    if not shown:
        raise UsageError(f"{folder}: there are no images in it; expected {', '.join(FORMATS)}")
    return shown


def read_image(path: Path, shape: Sequence[int], *, resize: bool) -> NDArray[Any]:
    """The pixels of an image, upright: uint8 of that shape.

    Args:
        shape: height, width, and channels unless it is gray; -1 is any.
        resize: convert another size or mode. Transparent parts become white.

    Raises:
        UsageError: it is no image, or of another size or mode.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of oddities in metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path, formats=FORMATS) as file:
                image = ImageOps.exif_transpose(file)
                image.load()
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise UsageError(f"{path}: the image has too many pixels") from None
        except _DAMAGED:
            raise UsageError(f"{path}: it cannot be read as {', '.join(FORMATS)}") from None
    height, width, channels = *shape, *([1] if len(shape) == 2 else [])
    size = (width if width > 0 else image.width, height if height > 0 else image.height)
    mode = _MODES[channels]
    if (image.mode, image.size) != (mode, size):
        wanted = f"{_WORDS[mode]} of {size[0]} x {size[1]} pixels"
        given = f"{_WORDS.get(image.mode, image.mode)} of {image.width} x {image.height}"
        if not resize or image.mode in ("I", "F"):  # whose values have no known range
            hint = "; --resize true converts it" if image.mode not in ("I", "F") else ""
            raise UsageError(f"{path}: expected an image in {wanted}, received {given}{hint}")
        image = _converted(image, mode).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(size[1], size[0], *shape[2:])


def _converted(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))  # convert() would clip
    if image.has_transparency_data and mode != "RGBA":
        opaque = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque)
    return image.convert(mode)
