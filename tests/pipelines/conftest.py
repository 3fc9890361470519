"""Shared by the tests of whole pipelines."""

from collections.abc import Iterator

import pytest

from tests.pipelines.families import two_machines


@pytest.fixture
def two_nodes() -> Iterator[str]:
    """The address of a Ray cluster of two machines with a processor each, both this machine."""
    with two_machines() as address:
        yield address
