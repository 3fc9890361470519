"""Files of images, read with Pillow."""

import struct
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""Those that Pillow decodes itself. For some others, such as EPS, it starts a program."""
UNKNOWN_RANGE = ("I", "F")  # modes of 32 bits: which of their values is white is not known
_MODES = {
    "L": "gray",
    "RGB": "RGB",
    "1": "black and white",
    "P": "with a palette",
    "LA": "gray with transparency",
    "RGBA": "RGB with transparency",
    "I;16": "gray of 16 bits",
    "I": "gray of 32 bits",
    "F": "gray of 32 bits",
}

# What Pillow raises for damaged files, by format and by what is damaged.
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    struct.error,
    zlib.error,
)


def read_image(path: Path) -> "Image":
    """Read an image, upright; ValueError says why it cannot be read."""
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of oddities in metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path, formats=FORMATS) as file:
                image = ImageOps.exif_transpose(file)
                image.load()
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise ValueError("of too many pixels") from None
        except (PermissionError, FileNotFoundError) as error:
            raise ValueError(f"not readable ({error.strerror})") from None
        except _DAMAGED:
            raise ValueError(f"not readable as {', '.join(FORMATS)}") from None
    return image


def mode_name(mode: str) -> str:
    """A mode of Pillow in words, such as "gray" for L."""
    return _MODES.get(mode, f"mode {mode}")


def converted(image: "Image", mode: str) -> "Image":
    """The image in a mode of 8 bits per channel, whose transparent parts become white.

    One of UNKNOWN_RANGE stays as it is.
    """
    from PIL import Image

    if image.mode in UNKNOWN_RANGE:
        return image
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))  # convert() would clip
    if image.has_transparency_data and mode != "RGBA":
        opaque = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque)
    return image.convert(mode)
