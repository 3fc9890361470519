"""Garbage collection: rarely, as most objects of frameworks and MLflow stay alive."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLD = 10_000  # allocations between two collections; Python 3.11's own is 700


def collect_rarely() -> None:
    """Collect garbage after more allocations than Python does.

    Frameworks leave 600,000 live objects behind, which every collection of the oldest generation
    visits: imports took 3.6 s instead of 4.5 s (docs/decisions/0006-dense-networks.md).
    """
    gc.set_threshold(THRESHOLD)


@contextmanager
def importing() -> Iterator[None]:
    """Pause garbage collection while libraries are imported.

    In a program that collects rarely, later collections skip all objects that exist after the
    block.
    """
    with no_collection():
        yield
    if gc.get_threshold()[0] == THRESHOLD:
        gc.freeze()


def exit_without_collection() -> None:
    """Skip the garbage collection at the exit of this process."""
    if sys.modules.get("triton"):  # it reports each of its objects that is never freed
        gc.unfreeze()
    else:
        gc.freeze()


@contextmanager
def no_collection() -> Iterator[None]:
    """Pause garbage collection, in all threads, while many objects are made that stay alive."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
