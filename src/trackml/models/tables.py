"""How the rows of a table become numbers that a model can add up.

Numbers are standardized, texts become a column per text, missing values are filled. What that takes
is measured on the training rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.compose import ColumnTransformer

Floats = NDArray[np.float32]


class Rows(Protocol):
    """Features float32 (N, columns), and targets (N,)."""

    @property
    def arrays(self) -> tuple[NDArray[Any], NDArray[Any]]: ...


class Table(Protocol):
    """What is needed of `trackml.data.TableData`."""

    @property
    def train(self) -> Rows: ...

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def categories(self) -> Mapping[str, tuple[str, ...]]: ...

    @property
    def missing(self) -> Literal["refuse", "impute"]: ...


@dataclass(frozen=True)
class Encoding:
    """How a network reads features float32 (N, columns).

    Attributes:
        numbers: positions of the numeric columns, which become (x - mean) / scale, or 0 where x is
            missing: the mean.
        gaps: those of them that have missing training values: each adds a column, 1 where x is
            missing, else 0.
        texts: position of a column of texts → how many there are. Each becomes a column, 1 where x
            is its index, else 0. A text that is missing or unknown has 0 in all of them.
        imputes: whether values may be missing.
    """

    numbers: tuple[int, ...]
    mean: Floats
    scale: Floats
    gaps: tuple[int, ...]
    texts: Mapping[int, int]
    imputes: bool

    @classmethod
    def of(cls, data: Table) -> Self:
        """Statistics of the training rows."""
        features = data.train.arrays[0].astype(np.float64)
        texts = {
            position: len(data.categories[name])
            for position, name in enumerate(data.columns)
            if name in data.categories
        }
        numbers = tuple(each for each in range(len(data.columns)) if each not in texts)
        x = features[:, numbers]
        is_there = ~np.isnan(x)
        count = np.maximum(is_there.sum(axis=0), 1)
        mean = np.where(is_there, x, 0).sum(axis=0) / count
        scale = np.sqrt(np.where(is_there, np.square(x - mean), 0).sum(axis=0) / count)
        gaps = tuple(each for each in numbers if np.isnan(features[:, each]).any())
        return cls(
            numbers,
            mean.astype(np.float32),
            np.where(scale > 0, scale, 1).astype(np.float32),
            gaps,
            texts,
            imputes=data.missing == "impute",
        )

    @property
    def width(self) -> int:
        """How many columns a network gets."""
        return len(self.numbers) + len(self.gaps) + sum(self.texts.values())


def preprocessing(data: Table) -> "ColumnTransformer":
    """For scikit-learn: a transformer of `data.as_frame(features)`, or of features without texts.

    Numbers are standardized, texts one-hot encoded, and an unknown text is 0 in all columns. If
    values may be missing, numbers become their median, with a column that says so, and texts the
    most frequent one.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    encoding = Encoding.of(data)
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    numeric, textual = [StandardScaler()], [one_hot]
    if encoding.imputes:
        numeric.insert(0, SimpleImputer(strategy="median", add_indicator=True))
        textual.insert(0, SimpleImputer(strategy="most_frequent"))
    # By position: arrays have no names.
    parts = [
        ("numbers", make_pipeline(*numeric), list(encoding.numbers)),
        ("texts", make_pipeline(*textual), list(encoding.texts)),
    ]
    return ColumnTransformer([part for part in parts if part[2]])
