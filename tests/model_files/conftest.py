from tests.tracking.conftest import store

__all__ = ["store"]
