import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.tracking.toy import Store
from trackml.process import this_process

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from trackml.data import ImageData


@pytest.fixture
def store(client: "MlflowClient", blobs: "ImageData", monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store in the current folder."""
    return Store(client, blobs, monkeypatch)


@pytest.fixture
def gone() -> str:
    """A process of this machine that has ended, as a run's tag names it."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return this_process().replace(str(os.getpid()), str(process.pid))
