"""Images in a folder with a subfolder per class, as arrays."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trackml.data.arrays import Images, Labels
from trackml.data.image_files import converted, mode_name, read_image
from trackml.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

_EXPECTED = ("L", "RGB")  # 8 bits per channel
_MAX_PATHS = 3  # that an error names, of each reason


def read_folder(
    folder: Path, size: tuple[int, int] | None, color: bool | None
) -> tuple[Images, Labels, tuple[str, ...]]:
    """Images, labels and classes of a folder, sorted by name.

    Args:
        size, color: as in `ImageData.from_folder`, which raises the same errors.
    """
    is_size = isinstance(size, tuple | list) and len(size) == 2
    if size is not None and not (is_size and all(isinstance(n, int) and n > 0 for n in size)):
        raise ValueError(f"size must be (height, width), in pixels. Received: {size!r}")
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise UsageError(f"{folder} {what}; expected a folder with a subfolder of images per class")
    entries = _visible(folder)
    classes = [entry for entry in entries if entry.is_dir()]
    refused: dict[str, list[Path]] = defaultdict(list)
    refused["outside of a class's subfolder"] += [each for each in entries if each not in classes]
    images: list[tuple[Path, int, Image.Image]] = []
    for label, subfolder in enumerate(classes):
        files = _visible(subfolder)
        if not files:
            refused["empty: add images, or remove the folder"].append(subfolder)
        for path in files:
            if path.is_dir():
                refused["a folder within a class, and no image"].append(path)
                continue
            try:
                images.append((path, label, _read(path, size, color)))
            except ValueError as error:
                refused[str(error)].append(path)
    modes = Counter(image.mode for _, _, image in images if image.mode in _EXPECTED)
    (mode, _), *_ = modes.most_common(1) or [("RGB", 0)]
    sizes = Counter(image.size for _, _, image in images if image.mode == mode).most_common(1)
    for path, _, image in images:
        if image.mode != mode:
            names = [mode_name(each) for each in (image.mode, mode)]
            hint = "; color=True or False converts" if color is None else ""
            refused[f"{names[0]}, not {names[1]}{hint}"].append(path)
        elif image.size != sizes[0][0]:
            width, height = sizes[0][0]
            most = f"not of {height} x {width} pixels, as most; size=(height, width) resizes"
            refused[most].append(path)
    if any(refused.values()):
        raise UsageError(f"{folder} has files that cannot be used: {_listed(refused, folder)}")
    if not images:
        raise UsageError(f"{folder} has no images; expected a subfolder of them per class")
    pixels = np.stack([np.asarray(image) for _, _, image in images])
    labels = np.array([label for _, label, _ in images])
    return pixels, labels, tuple(entry.name for entry in classes)


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _read(path: Path, size: tuple[int, int] | None, color: bool | None) -> "Image.Image":
    """An image, converted to gray or RGB and resized if that is asked for."""
    from PIL import Image

    image = read_image(path)
    if color is not None:
        image = converted(image, "RGB" if color else "L")
    if size and image.mode in _EXPECTED:
        height, width = size
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return image


def _listed(refused: dict[str, list[Path]], folder: Path) -> str:
    """Each reason with how many files it concerns, and the first of them."""
    parts = []
    for reason, paths in refused.items():
        names = [str(path.relative_to(folder)) for path in paths[:_MAX_PATHS]]
        names += ["…"] * (len(paths) > _MAX_PATHS)
        parts += [f"{len(paths):,} {reason} ({', '.join(names)})"] * bool(paths)
    return "; ".join(parts)
