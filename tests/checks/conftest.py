"""The store of the tests of tracking."""

from tests.tracking.conftest import store as store
