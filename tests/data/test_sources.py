"""Hosts that do not answer, and folders."""

import threading
from pathlib import Path

import pytest
import requests

from trackml.data.sources import ANSWER_SECONDS, Folder, Mirrors, SourceError


def test_hosts_that_never_answer_are_given_up_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a name look-up may, they do not keep to the time-out; and both are asked at once."""
    both, ended = threading.Barrier(2), threading.Event()
    passed: list[float] = []

    def head(url: str, timeout: float) -> None:
        both.wait()
        passed.append(timeout)
        ended.wait()
        raise requests.ConnectionError

    monkeypatch.setattr(requests, "head", head)
    with pytest.raises(SourceError, match="no answer"):
        list(Mirrors("http://a.invalid/{name}", "http://b.invalid/{name}").fetch(["x"]))
    ended.set()
    assert passed == [ANSWER_SECONDS] * 2
    assert ANSWER_SECONDS < 4


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nothing there"):
        list(Folder(str(tmp_path), ("{name}",), "a folder").fetch(["images"]))
