"""Hosts that do not answer, and folders."""

import time
from pathlib import Path

import pytest

from trackml.data.sources import Folder, Mirrors, SourceError


def test_hosts_that_do_not_answer_cost_seconds() -> None:
    # 192.0.2.0/24 is set aside for documentation: nobody answers there.
    started = time.monotonic()
    with pytest.raises(SourceError, match="no answer"):
        list(Mirrors("http://192.0.2.1/{name}", "http://no-such-host.invalid/{name}").fetch(["x"]))
    assert time.monotonic() - started < 4


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nothing there"):
        list(Folder(str(tmp_path), ("{name}",), "a folder").fetch(["images"]))
