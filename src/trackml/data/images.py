"""Labelled images in splits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trackml.data.splits import read_only, split_at_end, sum_of

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class ImageSplit:
    """images: uint8 (N, height, width), raw pixels. labels: int64 (N,), indices of `classes`."""

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
    """A dataset of labelled images. `sha256` identifies its content; `source` delivered it."""

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
        test: tuple[ArrayLike, ArrayLike],
        *,
        classes: Sequence[str],
        validation_split: float = 0.1,
        limit: int = 0,
        source: str = "arrays in memory",
        sha256: str | None = None,
    ) -> "ImageData":
        """Hold out the last `validation_split` of train; keep the first `limit` of the rest.

        Args:
            train, test: images uint8 (N, height, width) and labels int (N,).
            limit: 0 keeps all.

        Raises:
            ValueError: the arrays are not what is said above.
            UsageError: the split leaves no training or no validation images.
        """
        (images, labels), held_back = (_checked(*part, len(classes)) for part in (train, test))
        if held_back[0].shape[1:] != images.shape[1:]:
            raise ValueError(
                "test images must be as large as those of training. "
                f"Received: {held_back[0].shape[1:]} and {images.shape[1:]}"
            )
        kept, held_out = split_at_end(len(labels), validation_split, limit)
        return cls(
            name,
            train=_split(images[kept], labels[kept]),
            validation=_split(images[held_out], labels[held_out]),
            test=_split(*held_back),
            classes=tuple(classes),
            sha256=sha256 or sum_of(images, labels, *held_back),
            source=source,
        )


def _checked(
    images: ArrayLike, labels: ArrayLike, classes: int
) -> tuple[Images, NDArray[np.integer[Any]]]:
    images, labels = np.asarray(images), np.asarray(labels)
    if images.dtype != np.uint8 or images.ndim != 3:
        raise ValueError(
            "images must be raw pixels, uint8 (N, height, width). "
            f"Received: {images.dtype} {images.shape}"
        )
    if labels.shape != images.shape[:1]:
        raise ValueError(f"{len(images)} images need as many labels. Received: {labels.shape}")
    if not len(labels):
        raise ValueError("train and test need at least one image each. Received: none")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be integers. Received: {labels.dtype}")
    if not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"labels must be indices of the {classes} classes. "
            f"Received: {labels.min()} to {labels.max()}"
        )
    return images, labels


def _split(images: Images, labels: NDArray[np.integer[Any]]) -> ImageSplit:
    return ImageSplit(read_only(images), read_only(labels.astype(np.int64)))
