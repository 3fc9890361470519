"""Garbage collection: rarer in a program, and paused for a block only."""

import gc
import sys
from collections.abc import Iterator

import pytest

from trackml.process.garbage import (
    THRESHOLD,
    collect_rarely,
    exit_without_collection,
    importing,
    no_collection,
)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.enable()
    gc.set_threshold(*thresholds)


def test_a_program_collects_rarely() -> None:
    gc.set_threshold(700, 10, 10)
    collect_rarely()
    assert gc.get_threshold() == (THRESHOLD, 10, 10)


@pytest.mark.parametrize("was_enabled", [True, False])
def test_collection_is_as_before_after_a_block_and_after_an_error(was_enabled: bool) -> None:
    if not was_enabled:
        gc.disable()
    with no_collection():
        assert not gc.isenabled()
    assert gc.isenabled() == was_enabled
    with pytest.raises(ValueError, match="inside"), no_collection():
        raise ValueError("inside")
    assert gc.isenabled() == was_enabled


@pytest.mark.parametrize("is_program", [True, False])
def test_what_a_program_has_imported_is_never_visited_again(is_program: bool) -> None:
    gc.set_threshold(700, 10, 10)  # a notebook's, whose objects may become garbage
    if is_program:
        collect_rarely()
    with importing():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert (gc.get_freeze_count() > 0) == is_program


@pytest.mark.parametrize("triton", [gc, None])  # None keeps it from being imported
def test_nothing_is_freed_at_exit_but_what_triton_would_report(
    triton: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "triton", triton)
    gc.freeze()
    exit_without_collection()
    assert (gc.get_freeze_count() > 0) == (triton is None)
