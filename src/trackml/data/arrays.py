"""Labeled images, and tables with one target, as read-only arrays in three splits."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trackml.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Floats = NDArray[np.float32]
Array = NDArray[Any]
Pair = tuple[Array, Array]
T = TypeVar("T", bound=np.generic)
Split = TypeVar("Split")


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
class TableSplit:
    """features: float32 (N, columns). target: float32 (N,), or int64 (N,), indices of classes."""

    features: Floats
    target: Array

    @property
    def arrays(self) -> tuple[Floats, Array]:
        """Inputs and targets, as training takes them."""
        return self.features, self.target

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True)
class ImageData:
    """A dataset of labeled images. `sha256` identifies its content."""

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

        >>> digits = np.zeros((10, 28, 28), np.uint8), np.arange(10)
        >>> data = ImageData.from_arrays("digits", digits, digits, classes="0123456789")
        >>> len(data.train), len(data.validation), len(data.test)
        (9, 1, 10)

        Args:
            train, test: images uint8 (N, height, width) and labels int (N,).
            limit: 0 keeps all.

        Raises:
            ValueError: the arrays have other shapes, types or values.
            UsageError: the split leaves no training or no validation images.
        """
        train, test = (_checked_images(*part, len(classes)) for part in (train, test))
        if test[0].shape[1:] != train[0].shape[1:]:
            raise ValueError(
                "test images must have the size of the training images. "
                f"Received: {test[0].shape[1:]} and {train[0].shape[1:]}"
            )
        return cls(
            name,
            *_split(_image_split, train, test, validation_split, limit),
            classes=tuple(classes),
            sha256=sha256 or arrays_sha256(*train, *test),
            source=source,
        )


@dataclass(frozen=True)
class TableData:
    """A dataset of columns and one target. `sha256` identifies its content.

    Attributes:
        columns: names of the features, in order.
        unit: of the target; empty if it has none.
        classes: of the target; empty if it is a number.
        categories: of each column of texts, its texts, sorted: the features hold their indices.
        missing: whether values may be missing, nan in the features.
    """

    name: str
    train: TableSplit
    validation: TableSplit
    test: TableSplit
    columns: tuple[str, ...]
    target_name: str
    unit: str
    sha256: str
    source: str
    classes: tuple[str, ...] = ()
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: Literal["refuse", "impute"] = "refuse"

    def as_frame(self, features: Floats) -> "pd.DataFrame":
        """Features (N, columns) as a person wrote them: numbers float32, texts as texts."""
        import pandas as pd

        frame = pd.DataFrame(features, columns=list(self.columns))
        for name, texts in self.categories.items():
            # The last one stands for the index -1, of a missing text.
            codes = frame[name].fillna(-1).astype(np.int64)
            frame[name] = pd.Series(np.array([*texts, np.nan], dtype=object)[codes], dtype=object)
        return frame

    @classmethod
    def from_arrays(
        cls,
        name: str,
        train: tuple[ArrayLike, ArrayLike],
        test: tuple[ArrayLike, ArrayLike],
        *,
        columns: Sequence[str],
        target_name: str = "target",
        unit: str = "",
        validation_split: float = 0.1,
        limit: int = 0,
        source: str = "arrays in memory",
        sha256: str | None = None,
    ) -> "TableData":
        """Split as `ImageData.from_arrays` does, with the same errors.

        >>> homes = np.ones((10, 2)), np.ones(10)
        >>> data = TableData.from_arrays("homes", homes, homes, columns=["rooms", "age"])
        >>> data.train.features.shape, data.test.target.shape
        ((9, 2), (10,))

        Args:
            train, test: features (N, columns) and target (N,), finite numbers in float32.
        """
        train, test = (_checked_table(*part, columns) for part in (train, test))
        return cls(
            name,
            *_split(TableSplit, train, test, validation_split, limit),
            columns=tuple(columns),
            target_name=target_name,
            unit=unit,
            sha256=sha256 or arrays_sha256(*train, *test),
            source=source,
        )


def _checked_images(images: ArrayLike, labels: ArrayLike, classes: int) -> Pair:
    images, labels = np.asarray(images), np.asarray(labels)
    if images.dtype != np.uint8 or images.ndim != 3:
        raise ValueError(
            "images must be raw pixels, uint8 (N, height, width). "
            f"Received: {images.dtype} {images.shape}"
        )
    is_integer = np.issubdtype(labels.dtype, np.integer)
    if not (is_integer and len(images) and labels.shape == images.shape[:1]):
        raise ValueError(
            "train and test need at least one image each, and an integer label for each image. "
            f"Received: {len(images)} images and labels {labels.dtype} {labels.shape}"
        )
    if not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"labels must be indices of the {classes} classes. "
            f"Received: {labels.min()} to {labels.max()}"
        )
    return images, labels


def _image_split(images: Images, labels: Array) -> ImageSplit:
    return ImageSplit(images, read_only(labels.astype(np.int64)))


def _checked_table(features: ArrayLike, target: ArrayLike, columns: Sequence[str]) -> Pair:
    if len(set(columns)) != len(columns):
        raise ValueError(f"each column needs its own name. Received: {', '.join(columns)}")
    features, target = np.asarray(features), np.asarray(target)
    if target.ndim != 1 or not len(target) or features.shape != (len(target), len(columns)):
        raise ValueError(
            f"features must be (N, {len(columns)}), a column for each of {', '.join(columns)}, "
            f"and the target (N,), N >= 1. Received: {features.shape} and {target.shape}"
        )
    with np.errstate(over="ignore"):  # what overflows becomes infinity, which is refused below
        features, target = features.astype(np.float32), target.astype(np.float32)
    if not (np.isfinite(features).all() and np.isfinite(target).all()):
        raise ValueError("features and target must be finite numbers. Received: nan or infinity")
    return features, target


def _split(
    make: Callable[[Any, Any], Split], train: Pair, test: Pair, validation_split: float, limit: int
) -> tuple[Split, Split, Split]:
    kept, held_out = split_at_end(len(train[0]), validation_split, limit)

    def part(inputs: Array, targets: Array, rows: slice) -> Split:
        return make(read_only(inputs[rows]), read_only(targets[rows]))

    return part(*train, kept), part(*train, held_out), part(*test, slice(None))


def split_at_end(rows: int, validation_split: float, limit: int) -> tuple[slice, slice]:
    """The rows to train on, and the last `validation_split` of all rows, to validate on.

    Args:
        limit: train on the first N rows only; 0 keeps all.

    Raises:
        UsageError: one of the two would be empty.
    """
    held_out = round(rows * validation_split)
    kept = rows - held_out
    if not held_out or not kept:
        raise UsageError(
            f"--validation_split {validation_split}: of {rows:,} rows it leaves {kept:,} to train "
            f"on and {held_out:,} to validate on; both need at least 1"
        )
    return slice(0, min(limit or kept, kept)), slice(kept, rows)


def read_only(array: NDArray[T]) -> NDArray[T]:
    """A view of an array that cannot be written to."""
    array = array.view()
    array.flags.writeable = False
    return array


def arrays_sha256(*arrays: Array) -> str:
    """One SHA-256 of arrays, in order: their dtypes, shapes and values."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
