"""Labeled images in three splits."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from numpy.typing import ArrayLike

from trackml.data.arrays import Images, Labels, Pair, arrays_sha256
from trackml.data.checks import checked_images, first_few, names_of
from trackml.data.folders import read_folder
from trackml.data.splits import SplitOptions, split
from trackml.errors import UsageError


@dataclass(frozen=True)
class ImageSplit:
    """images: uint8 (N, height, width) or (N, height, width, channels), raw pixels.

    labels: int64 (N,), indices of `classes`.
    """

    images: Images
    labels: Labels

    @property
    def arrays(self) -> tuple[Images, Labels]:
        """Inputs and targets, as training takes them."""
        return self.images, self.labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ImageData:
    """A dataset of labeled images. `sha256` identifies its content and its test rows."""

    name: str
    train: ImageSplit
    validation: ImageSplit
    test: ImageSplit
    classes: tuple[str, ...]
    sha256: str
    source: str

    @classmethod
    def from_arrays(
        cls,
        name: str,
        train: tuple[ArrayLike, ArrayLike],
        test: tuple[ArrayLike, ArrayLike] | float = 0.2,
        *,
        classes: Sequence[str],
        source: str = "arrays in memory",
        sha256: str | None = None,
        **options: Unpack[SplitOptions],
    ) -> "ImageData":
        """Hold out rows to validate on and, unless `test` has its own, to test on.

        >>> import numpy as np
        >>> photos = np.zeros((100, 32, 32, 3), np.uint8), np.arange(100) % 2
        >>> data = ImageData.from_arrays("pets", photos, classes=["cat", "dog"])
        >>> len(data.train), len(data.validation), len(data.test)
        (72, 8, 20)

        Args:
            train: images uint8 (N, height, width), or (N, height, width, channels) with 1 to 4
                channels, of any size, and labels int (N,), indices of the classes.
            test: the same, or the fraction of `train` that is held out.
            options: how rows are split, as in `SplitOptions`.
            source: where the images are from.
            sha256: of the content, if it is known.

        Raises:
            ValueError: the arrays have other shapes, types or values.
            UsageError: a split has no images, or none of a class.
        """
        classes = names_of(classes)
        if len(set(classes)) != len(classes):
            raise ValueError(f"each class needs its own name. Received: {', '.join(classes)}")
        first = checked_images(*train, len(classes))
        second: Pair | float
        if isinstance(test, int | float):
            second = test
        else:
            second = checked_images(*test, len(classes))
            if second[0].shape[1:] != first[0].shape[1:]:
                raise ValueError(
                    "test images must have the size of the training images. "
                    f"Received: {second[0].shape[1:]} and {first[0].shape[1:]}"
                )
        splits = split(first, second, classes, **options)
        return cls(
            name,
            train=ImageSplit(*splits.train),
            validation=ImageSplit(*splits.validation),
            test=ImageSplit(*splits.test),
            classes=classes,
            sha256=sha256 or arrays_sha256(*splits.whole),
            source=source,
        )

    @classmethod
    def from_folder(
        cls,
        name: str,
        folder: str | Path,
        test: str | Path | float = 0.2,
        *,
        size: tuple[int, int] | None = None,
        color: bool | None = None,
        **options: Unpack[SplitOptions],
    ) -> "ImageData":
        """Read the images in a folder's subfolders, which are the classes, sorted by name.

        >>> from tempfile import mkdtemp
        >>> from PIL import Image
        >>> photos = Path(mkdtemp(), "pets")
        >>> for number in range(20):
        ...     file = photos / ("cat" if number % 2 else "dog") / f"{number}.png"
        ...     file.parent.mkdir(parents=True, exist_ok=True)
        ...     Image.new("RGB", (40 + number, 30), "red").save(file)
        >>> data = ImageData.from_folder("pets", photos, size=(32, 32))
        >>> data.classes, data.train.images.shape
        (('cat', 'dog'), (14, 32, 32, 3))

        Args:
            test: a folder of its own with the same subfolders, or the fraction of the images that
                is held out.
            size: (height, width) that all images are resized to; None: they must have one size.
            color: True converts all images to RGB, False to gray; None: they must be all RGB, or
                all gray, of 8 bits. What is transparent becomes white.
            options: how the images are split, as in `from_arrays`.

        Returns:
            Data with images uint8 (N, height, width), or (N, height, width, 3) in color.

        Raises:
            UsageError: there is no such folder, it has no classes, a file is no image that can be
                read, images differ in mode or size, or a split has none of a class.
        """
        images, labels, classes = read_folder(Path(folder), size, color)
        held_out: Pair | float
        if isinstance(test, int | float):
            held_out = test
        else:
            test_images, test_labels, others = read_folder(Path(test), size, color)
            held_out = test_images, test_labels
            if differing := sorted({*classes} ^ {*others}):
                raise UsageError(
                    f"{test} must have the subfolders of {folder}; only one of them has "
                    f"{first_few(differing)}"
                )
        return cls.from_arrays(
            name, (images, labels), held_out, classes=classes, source=str(folder), **options
        )
