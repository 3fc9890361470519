"""Files of images as pixels for a model, read as `ImageData.from_folder` reads them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trackml.data.image_files import FORMATS, UNKNOWN_RANGE, converted, mode_name, read_image
from trackml.errors import UsageError

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


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


def read_pixels(path: Path, shape: Sequence[int], *, resize: bool) -> NDArray[Any]:
    """The pixels of an image, upright: uint8 of that shape.

    Args:
        shape: height, width, and channels unless it is gray; -1 is any.
        resize: convert another size or mode. Transparent parts become white.

    Raises:
        UsageError: it is no image, or of another size or mode.
    """
    try:
        image = read_image(path)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None
    height, width, channels = *shape, *([1] if len(shape) == 2 else [])
    size = (width if width > 0 else image.width, height if height > 0 else image.height)
    mode = _MODES[channels]
    if (image.mode, image.size) != (mode, size):
        wanted = f"{size[0]} x {size[1]} pixels, {mode_name(mode)}"
        given = f"{image.width} x {image.height}, {mode_name(image.mode)}"
        if not resize or image.mode in UNKNOWN_RANGE:
            hint = "; --resize true converts it" if image.mode not in UNKNOWN_RANGE else ""
            raise UsageError(f"{path}: expected an image of {wanted}; received {given}{hint}")
        image = converted(image, mode).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(size[1], size[0], *shape[2:])
