from typing import TYPE_CHECKING

import pytest

from tests.tracking.toy import Store

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from trackml.data import ImageData


@pytest.fixture
def store(client: "MlflowClient", blobs: "ImageData", monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store in the current folder."""
    return Store(client, blobs, monkeypatch)
