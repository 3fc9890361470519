"""Which rows are trained on, validated on and tested on."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from trackml.data.arrays import Array, Labels, Pair, read_only
from trackml.errors import UsageError

_log = logging.getLogger(__name__)

Rows = slice | NDArray[np.intp]


class SplitOptions(TypedDict, total=False):
    """How rows are split; each is optional.

    Attributes:
        validation_split: fraction to validate on, of the rows that are not tested on; 0.1.
        limit: train on the first N rows only; 0 keeps all. It changes no other split.
        keep_order: hold out the last rows, as for data in order of time. Otherwise rows are
            shuffled, and each class is split by the same fractions.
        split_seed: of the shuffle; 0.
    """

    validation_split: float
    limit: int
    keep_order: bool
    split_seed: int


@dataclass(frozen=True)
class Splits:
    """Inputs and targets of each split, read-only.

    Attributes:
        whole: all inputs and targets, in an order that no `validation_split` or `limit` changes:
            to train or validate on, then to test on.
    """

    train: Pair
    validation: Pair
    test: Pair
    whole: tuple[Array, ...]


def split(
    train: Pair,
    test: Pair | float,
    classes: Sequence[str] = (),
    *,
    validation_split: float = 0.1,
    limit: int = 0,
    keep_order: bool = False,
    split_seed: int = 0,
) -> Splits:
    """Split rows as `SplitOptions` says.

    Args:
        test: the rows to test on, or the fraction of `train` that is held out for that.
        classes: if there are any, targets are their indices, int64.

    Raises:
        ValueError: `test` is no fraction.
        UsageError: a split has no rows, or none of a class.
    """
    if limit < 0:
        raise ValueError(f"limit must be at least 0. Received: {limit}")
    if not keep_order:
        train = _take(train, shuffled_rows(*train, split_seed))
    stratify = bool(classes) and not keep_order
    if not isinstance(test, tuple):
        if not 0 < test < 1:
            raise ValueError(
                "test must be inputs and targets, or a fraction of the rows between 0 and 1. "
                f"Received: {test}"
            )
        # Of each class two rows stay, of which one is held out below.
        rest, held_out = hold_out(train[1], test, f"test={test}", stratify=stratify, keep=2)
        train, test = _take(train, rest), _take(train, held_out)
    flag = f"--validation_split {validation_split}"
    kept, held_out = hold_out(train[1], validation_split, flag, stratify=stratify)
    parts = {"training": _take(train, kept), "validation": _take(train, held_out), "test": test}
    _require_classes(classes, {name: labels for name, (_, labels) in parts.items()})
    if not keep_order:
        _warn_of_duplicates(parts["training"], test)
    inputs, targets = parts["training"]
    parts["training"] = inputs[: limit or None], targets[: limit or None]
    first, second, third = ((read_only(x), read_only(y)) for x, y in parts.values())
    return Splits(first, second, third, whole=(*train, *test))


def shuffled_rows(inputs: Array, targets: Array, seed: int) -> NDArray[np.intp]:
    """All rows in a random order, which depends on their content and the seed alone.

    So a file whose rows were sorted anew is split as before.

    Args:
        inputs: (N, ...). targets: (N,).
    """
    by_content = _digests(inputs, targets).argsort(kind="stable")
    return by_content[np.random.default_rng(seed).permutation(len(by_content))]


def hold_out(
    targets: Array, share: float, option: str, *, stratify: bool = False, keep: int = 1
) -> tuple[Rows, Rows]:
    """The rows to keep, and the last `share` of them, to hold out.

    Args:
        targets: (N,).
        option: by which the share was chosen, for the error.
        stratify: hold out the last `share` of each target, but at least one row.
        keep: so many rows of each target, if it has more.

    Raises:
        UsageError: one of the two would be empty.
    """
    rows = len(targets)
    count = round(rows * share)
    if not 0 < count < rows:
        raise UsageError(
            f"{option}: of {rows:,} rows it keeps {rows - count:,} and holds out {count:,}; "
            "both need at least 1"
        )
    if not stratify:
        return slice(rows - count), slice(rows - count, rows)
    is_held_out = np.zeros(rows, bool)
    for value in np.unique(targets):
        own = np.flatnonzero(targets == value)
        count = max(1, min(round(len(own) * share), len(own) - keep))
        is_held_out[own[len(own) - count :]] = True
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def _digests(inputs: Array, targets: Array) -> NDArray[np.uint64]:
    """A number per row (N,), which depends on its content alone."""
    rows = zip(inputs, targets, strict=True)
    digests = [blake2b(x.tobytes() + y.tobytes(), digest_size=8).digest() for x, y in rows]
    return np.frombuffer(b"".join(digests), np.uint64)


def _warn_of_duplicates(train: Pair, test: Pair) -> None:
    """Say how many test rows are also training rows: the model has seen their answers."""
    if count := int(np.isin(_digests(*test), _digests(*train)).sum()):
        _log.warning(
            "warning: %s of %s test rows are also training rows, which makes test scores too good; "
            "remove duplicates from the data",
            f"{count:,}",
            f"{len(test[1]):,}",
        )


def _take(pair: Pair, rows: Rows) -> Pair:
    inputs, targets = pair
    return inputs[rows], targets[rows]


def _require_classes(classes: Sequence[str], labels: Mapping[str, Labels]) -> None:
    """Refuse a split in which a class has no row: it would not be learned, or not be scored."""
    counts = {
        name: np.bincount(own, minlength=len(classes)) for name, own in labels.items() if classes
    }
    for name, own in counts.items():
        if lacking := np.flatnonzero(own == 0).tolist():
            total = sum(each[lacking[0]] for each in counts.values())
            others = f" and {len(lacking) - 1:,} more" * (len(lacking) > 1)
            raise UsageError(
                f"the {name} split lacks class {classes[lacking[0]]!r}{others} (rows in all: "
                f"{total:,}); each class needs a row in each of the {len(counts)} splits: add "
                "rows of it, or leave it out"
            )
