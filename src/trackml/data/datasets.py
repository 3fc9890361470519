"""What a pipeline gets: arrays, in splits that are the same for every framework."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from trackml.data import cache, catalog, formats
from trackml.errors import UsageError

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Floats = NDArray[np.float32]
T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class ImageSplit:
    """images: uint8 (N, height, width), raw pixels. labels: int64 (N,), indices of `classes`."""

    images: Images
    labels: Labels

    @property
    def arrays(self) -> tuple[Images, Labels]:
        return self.images, self.labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class TableSplit:
    """features: float32 (N, columns). target: float32 (N,)."""

    features: Floats
    target: Floats

    @property
    def arrays(self) -> tuple[Floats, Floats]:
        return self.features, self.target

    def __len__(self) -> int:
        return len(self.target)


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
        train: tuple[Images, NDArray[np.integer[Any]]],
        test: tuple[Images, NDArray[np.integer[Any]]],
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
        for part in (train, test):
            _check(*part, classes=len(classes))
        if test[0].shape[1:] != train[0].shape[1:]:
            raise ValueError(
                "test images must be as large as those of training. "
                f"Received: {test[0].shape[1:]} and {train[0].shape[1:]}"
            )
        images, labels = train
        kept, held_out = split_at_end(len(labels), validation_split, limit)
        return cls(
            name,
            train=_image_split(images[kept], labels[kept]),
            validation=_image_split(images[held_out], labels[held_out]),
            test=_image_split(*test),
            classes=tuple(classes),
            sha256=sha256 or _sha256(*train, *test),
            source=source,
        )


@dataclass(frozen=True)
class TableData:
    """A dataset of numeric columns and one target; `columns` names the features in order."""

    name: str
    train: TableSplit
    validation: TableSplit
    test: TableSplit
    columns: tuple[str, ...]
    sha256: str
    source: str


@overload
def load(
    name: Literal["mnist", "fashion_mnist"], validation_split: float = 0.1, limit: int = 0
) -> ImageData: ...
@overload
def load(
    name: Literal["california_housing"], validation_split: float = 0.1, limit: int = 0
) -> TableData: ...
def load(name: str, validation_split: float = 0.1, limit: int = 0) -> ImageData | TableData:
    """Load a dataset from the cache, fetching and repairing what is not there or not intact.

    Args:
        validation_split: share of the official training data held out for validation, from its end.
        limit: keep only the first N training examples; 0 keeps all. Validation and test stay whole.

    Raises:
        DataUnavailable: no source delivered the data; the message says which file to put where.
        UsageError: there is no such dataset, or the split leaves nothing to train or validate on.
    """
    dataset = catalog.find(name)
    contents, source = cache.fetch(dataset)
    sha256 = dataset.sha256
    if name == "california_housing":
        return _housing(contents[0], source, sha256, validation_split, limit)
    train_images, train_labels, test_images, test_labels = map(formats.parse_idx, contents)
    return ImageData.from_arrays(
        name,
        (train_images, train_labels),
        (test_images, test_labels),
        classes=dataset.classes,
        validation_split=validation_split,
        limit=limit,
        source=source,
        sha256=sha256,
    )


def split_at_end(rows: int, validation_split: float, limit: int) -> tuple[slice, slice]:
    """Rows to train on, and the last `validation_split` of all rows, to validate on.

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


def _housing(
    content: bytes, source: str, sha256: str, validation_split: float, limit: int
) -> TableData:
    # train_test_split with seed 42 is how users of this dataset split it: test rows match theirs.
    from sklearn.model_selection import train_test_split

    table = formats.parse_housing(content)
    train, test = train_test_split(table, test_size=0.2, random_state=42)
    kept, held_out = split_at_end(len(train), validation_split, limit)
    return TableData(
        "california_housing",
        train=_table_split(train[kept]),
        validation=_table_split(train[held_out]),
        test=_table_split(test),
        columns=formats.HOUSING_FEATURES,
        sha256=sha256,
        source=source,
    )


def _check(images: NDArray[Any], labels: NDArray[Any], classes: int) -> None:
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


def _image_split(images: Images, labels: NDArray[np.integer[Any]]) -> ImageSplit:
    return ImageSplit(_read_only(images), _read_only(labels.astype(np.int64)))


def _table_split(rows: Floats) -> TableSplit:
    return TableSplit(_read_only(rows[:, :-1]), _read_only(rows[:, -1]))


def _read_only(array: NDArray[T]) -> NDArray[T]:
    array = array.view()
    array.flags.writeable = False
    return array


def _sha256(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
