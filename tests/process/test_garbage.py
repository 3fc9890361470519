"""Collection of garbage: paused for a block only."""

import gc
from collections.abc import Iterator

import pytest

from trackml.process.garbage import no_collection


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    gc.enable()


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
