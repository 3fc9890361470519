"""The cache with a small dataset of the tests' own: damage, races, mirrors, nobody there."""

import gzip
import hashlib
import http.server
import logging
import multiprocessing
import socketserver
import threading
import time
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock

from trackml.data import cache, formats
from trackml.data.catalog import Dataset, File
from trackml.data.sources import Delivery, Mirrors, SourceError

CONTENTS = {"images": bytes(range(256)) * 40, "labels": b"0123456789"}


@dataclass(frozen=True)
class Shelf:
    """A source that counts in a file how often it was asked, whoever asks."""

    log: str
    contents: tuple[tuple[str, bytes], ...] = tuple(CONTENTS.items())
    seconds: float = 0.0
    label: str = "shelf"

    def fetch(self, names: Collection[str]) -> Delivery:
        with Path(self.log).open("a") as log:
            log.write(f"{' '.join(sorted(names))}\n")
        time.sleep(self.seconds)
        yield from ((name, content) for name, content in self.contents if name in names)


@dataclass(frozen=True)
class Nobody:
    label: str = "nobody"

    def fetch(self, names: Collection[str]) -> Delivery:
        yield from ()  # a generator, as every source is
        raise SourceError("no answer")


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    return tmp_path / "asked.log"


@pytest.fixture
def dataset(tmp_path: Path, asked: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setenv("TRACKML_DATA_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("TRACKML_DATA_MIRROR", raising=False)
    files = tuple(
        File(name, len(content), hashlib.sha256(content).hexdigest())
        for name, content in CONTENTS.items()
    )
    return Dataset(
        "tiny", files, (Shelf(str(asked)),), formats.decode_idx, by_hand=("{name}", "{name}.gz")
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "cache" / "tiny"
    folder.mkdir(parents=True)
    return folder


def test_content_is_fetched_once_and_then_read(dataset: Dataset, asked: Path) -> None:
    for _ in range(2):
        contents, source = cache.fetch(dataset)
        assert contents == list(CONTENTS.values())
        assert source == "shelf"
    assert asked.read_text() == "images labels\n"
    assert [entry.state for entry in cache.inspect(dataset)] == ["verified", "verified"]
    assert [entry.origin for entry in cache.inspect(dataset)] == ["shelf", "shelf"]


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-1], lambda content: b"X" + content[1:], lambda content: b""],
    ids=["truncated", "altered", "emptied"],
)
def test_a_damaged_file_is_found_and_repaired(
    dataset: Dataset,
    asked: Path,
    folder: Path,
    damage: partial[bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache.fetch(dataset)
    images = folder / "images"
    images.write_bytes(damage(CONTENTS["images"]))
    assert cache.inspect(dataset)[0].state == "damaged"
    with caplog.at_level(logging.WARNING, logger="trackml"):
        contents, _ = cache.fetch(dataset)
    assert contents == list(CONTENTS.values())
    assert images.read_bytes() == CONTENTS["images"]
    assert asked.read_text() == "images labels\nimages\n"
    assert f"{images} is damaged" in caplog.text


def test_a_source_with_wrong_content_is_passed_over(dataset: Dataset) -> None:
    forger = Shelf("/dev/null", (("images", b"forged"), ("labels", CONTENTS["labels"])))
    contents, source = cache.fetch(replace(dataset, sources=(forger, *dataset.sources)))
    assert contents == list(CONTENTS.values())
    assert source == "shelf"


@dataclass(frozen=True)
class Broken:
    """A source whose archive cannot be opened."""

    label: str = "broken"

    def fetch(self, names: Collection[str]) -> Delivery:
        yield from ()
        raise zipfile.BadZipFile("no end of archive")


def test_a_source_that_breaks_is_passed_over_and_named(dataset: Dataset, folder: Path) -> None:
    assert cache.fetch(replace(dataset, sources=(Broken(), *dataset.sources)))[1] == "shelf"
    (folder / "images").unlink()
    with pytest.raises(cache.DataUnavailable, match="broken: BadZipFile: no end of archive"):
        cache.fetch(replace(dataset, sources=(Broken(),)))


def test_a_file_that_a_person_put_there_is_used(dataset: Dataset, folder: Path) -> None:
    for name, content in CONTENTS.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    contents, source = cache.fetch(replace(dataset, sources=(Nobody(),)))
    assert contents == list(CONTENTS.values())
    assert source == "put into the cache by hand"


def test_a_file_that_a_person_put_there_and_that_will_not_do_is_named(
    dataset: Dataset, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "images.gz").write_bytes(gzip.compress(b"others"))
    with caplog.at_level(logging.WARNING, logger="trackml"):
        assert cache.fetch(dataset)[1] == "shelf"
    assert "not used: put into the cache by hand: for images: wrong checksum" in caplog.text


def test_a_damaged_file_beside_a_good_archive_is_repaired_from_it(
    dataset: Dataset, folder: Path
) -> None:
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content[:-2])
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    assert cache.fetch(replace(dataset, sources=(Nobody(),)))[0] == list(CONTENTS.values())


def test_with_nobody_there_the_message_says_which_file_to_put_where(
    dataset: Dataset, folder: Path
) -> None:
    (folder / "labels").write_bytes(CONTENTS["labels"])
    with pytest.raises(cache.DataUnavailable) as failure:
        cache.fetch(replace(dataset, sources=(Nobody(),)))
    message = str(failure.value)
    assert "\n" not in message
    assert f"Put into {folder}: images or images.gz." in message
    assert "labels" not in message
    assert "nobody: no answer" in message


def _fetch(dataset: Dataset) -> bool:
    return cache.fetch(dataset)[0] == list(CONTENTS.values())


def test_processes_that_fetch_at_once_all_succeed_and_ask_once(
    dataset: Dataset, asked: Path
) -> None:
    slow = replace(dataset, sources=(Shelf(str(asked), seconds=2),))
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert all(pool.map(_fetch, [slow] * 3, chunksize=1))
    assert asked.read_text() == "images labels\n"


def test_two_good_copies_are_as_good_as_one(dataset: Dataset, folder: Path) -> None:
    (folder / "images.gz").write_bytes(gzip.compress(CONTENTS["images"]))
    (folder / "images").write_bytes(CONTENTS["images"])
    assert cache.fetch(dataset)[0] == list(CONTENTS.values())


def test_who_waited_for_a_failure_does_not_wait_again(
    dataset: Dataset, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[Path] = []
    tries: list[Collection[str]] = []

    class Slow(Nobody):
        def fetch(self, names: Collection[str]) -> Delivery:
            tries.append(names)
            while len(waiting) < 3:
                time.sleep(0.01)
            time.sleep(0.1)  # the file system's clock may be that late
            yield from super().fetch(names)

    def lock(path: Path) -> FileLock:
        waiting.append(path)
        return FileLock(path)

    def ask() -> None:
        with pytest.raises(cache.DataUnavailable, match="nobody: no answer"):
            cache.fetch(replace(dataset, sources=(Slow(),)))

    monkeypatch.setattr(cache, "FileLock", lock)
    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tries) == 1
    ask()  # a later one asks anew
    assert len(tries) == 2


@pytest.mark.parametrize("note", [b"null", b"[1]", b"{", b'{"images": 1}'])
def test_a_spoilt_note_on_origins_is_no_obstacle(
    dataset: Dataset, folder: Path, note: bytes
) -> None:
    cache.fetch(dataset)
    (folder / "origins.json").write_bytes(note)
    assert cache.fetch(dataset)[0] == list(CONTENTS.values())


def test_no_temporary_file_is_left(dataset: Dataset, folder: Path) -> None:
    cache.fetch(dataset)
    assert sorted(path.name for path in folder.iterdir()) == ["images", "labels", "origins.json"]


def test_a_complete_cache_needs_no_lock_and_no_write(
    dataset: Dataset, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.fetch(dataset)

    def no_lock(*_: object) -> None:
        raise AssertionError("locked")

    monkeypatch.setattr(cache, "FileLock", no_lock)
    assert cache.fetch(dataset)[0] == list(CONTENTS.values())


def test_a_cache_that_cannot_be_written_is_named(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("TRACKML_DATA_DIR", str(tmp_path / "file"))
    with pytest.raises(cache.DataUnavailable, match=r"cannot write to .*TRACKML_DATA_DIR"):
        cache.fetch(dataset)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address under which a real web server on this machine shows it."""
    shown = tmp_path / "web"
    shown.mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(shown))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield shown, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_mirror_of_ones_own_is_asked_first(
    dataset: Dataset, web: tuple[Path, str], asked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, address = web
    (shown / "tiny").mkdir()
    (shown / "tiny" / "images").write_bytes(CONTENTS["images"])
    (shown / "tiny" / "labels.gz").write_bytes(gzip.compress(CONTENTS["labels"]))
    address = address.replace("http://", "http://me:secret@")
    monkeypatch.setenv("TRACKML_DATA_MIRROR", f"{address}/")
    contents, source = cache.fetch(dataset)
    assert contents == list(CONTENTS.values())
    assert source == "127.0.0.1:" + address.rpartition(":")[2]
    assert "secret" not in (cache.data_dir() / "tiny" / "origins.json").read_text()
    assert not asked.exists()


def test_the_second_mirror_helps_where_the_first_has_nothing(web: tuple[Path, str]) -> None:
    shown, address = web
    (shown / "images").write_bytes(b"content")
    mirrors = Mirrors(f"{address}/missing/{{name}}", f"{address}/{{name}}")
    wanted = {"images"}
    for name, content in mirrors.fetch(wanted):
        assert (name, content) == ("images", b"content")
        wanted.remove(name)
    assert not wanted


def test_the_second_mirror_helps_where_the_first_is_damaged(
    dataset: Dataset, web: tuple[Path, str]
) -> None:
    shown, address = web
    for place in ("bad", "good"):
        (shown / place).mkdir()
        for name, content in CONTENTS.items():
            damaged = content[:-1] if place == "bad" else content
            (shown / place / name).write_bytes(damaged)
    mirrors = Mirrors(f"{address}/bad/{{name}}", f"{address}/good/{{name}}")
    contents, _ = cache.fetch(replace(dataset, sources=(mirrors,)))
    assert contents == list(CONTENTS.values())


def test_a_connection_that_breaks_is_no_reason_not_to_ask_the_next(
    web: tuple[Path, str],
) -> None:
    shown, address = web
    (shown / "images").write_bytes(b"content")
    with socketserver.TCPServer(("127.0.0.1", 0), BreaksOff) as broken:
        threading.Thread(target=broken.serve_forever, daemon=True).start()
        mirrors = Mirrors(
            f"http://127.0.0.1:{broken.server_address[1]}/{{name}}", f"{address}/{{name}}"
        )
        assert next(mirrors.fetch(["images"])) == ("images", b"content")
        broken.shutdown()


class BreaksOff(socketserver.StreamRequestHandler):
    """Promises 100 bytes, and sends 10."""

    def handle(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\n0123456789")


def test_a_mirror_that_lacks_a_file_says_so(web: tuple[Path, str]) -> None:
    with pytest.raises(SourceError, match="404"):
        list(Mirrors(f"{web[1]}/{{name}}").fetch(["images"]))
