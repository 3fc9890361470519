"""The datasets of the catalog, loaded: arrays in splits that are the same for every framework."""

from typing import Literal, overload

from trackml.data import cache, catalog, formats
from trackml.data.images import ImageData
from trackml.data.tables import TableData


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


def _housing(
    content: bytes, source: str, sha256: str, validation_split: float, limit: int
) -> TableData:
    # train_test_split with seed 42 is how users of this dataset split it: test rows match theirs.
    from sklearn.model_selection import train_test_split

    table = formats.parse_housing(content)
    train, test = train_test_split(table, test_size=0.2, random_state=42)
    return TableData.from_arrays(
        "california_housing",
        (train[:, :-1], train[:, -1]),
        (test[:, :-1], test[:, -1]),
        columns=formats.HOUSING_FEATURES,
        target_name=formats.HOUSING_TARGET,
        unit="100,000 US dollars",
        validation_split=validation_split,
        limit=limit,
        source=source,
        sha256=sha256,
    )
