"""When Python looks for garbage: rarely, as most of what frameworks and MLflow make is none."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLD = 10_000  # allocations between two looks for garbage; Python 3.11's own is 700


def collect_rarely() -> None:
    """Let this process look for garbage after more allocations.

    Frameworks leave 600,000 objects behind that are no garbage. To look through them as often as
    Python does takes as long as an epoch of `dense_mnist`.
    """
    gc.set_threshold(THRESHOLD)


def exit_without_collection() -> None:
    """Leave out the look through all objects with which Python ends."""
    if "triton" not in sys.modules:  # which takes objects that it finds at exit for leaks
        gc.freeze()


@contextmanager
def no_collection() -> Iterator[None]:
    """Look for no garbage meanwhile: for work that makes many objects, and keeps them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
