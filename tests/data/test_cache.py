"""The cache with a small dataset of the tests' own: damage, races, mirrors, failing sources."""

import gzip
import hashlib
import http.server
import logging
import multiprocessing
import socketserver
import threading
import time
import zipfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock

from trackml.data import cache, formats
from trackml.data.cache import Dataset, File
from trackml.data.sources import Contents, Mirrors, SourceError
from trackml.errors import TrackmlError

CONTENTS = {"images": bytes(range(256)) * 40, "labels": b"0123456789"}
NO_RESPONSE = SourceError("no response")


@dataclass(frozen=True)
class Shelf:
    """A source that notes each request in a file, whichever process makes it."""

    log: str
    contents: tuple[tuple[str, bytes], ...] = tuple(CONTENTS.items())
    seconds: float = 0.0
    label: str = "shelf"

    def fetch(self, names: Collection[str]) -> Contents:
        with Path(self.log).open("a") as log:
            log.write(f"{' '.join(sorted(names))}\n")
        time.sleep(self.seconds)
        yield from ((name, content) for name, content in self.contents if name in names)


@dataclass(frozen=True)
class Failing:
    """A source that has nothing."""

    error: Exception = NO_RESPONSE
    label: str = "failing"

    def fetch(self, names: Collection[str]) -> Contents:
        yield from ()  # a generator, as every source is
        raise self.error


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


def is_complete(dataset: Dataset) -> bool:
    return cache.fetch(dataset)[0] == list(CONTENTS.values())


def test_content_is_fetched_once_and_then_read(dataset: Dataset, asked: Path, folder: Path) -> None:
    for _ in range(2):
        assert cache.fetch(dataset) == (list(CONTENTS.values()), "shelf")
    assert asked.read_text() == "images labels\n"
    assert [entry[1:] for entry in cache.inspect(dataset)] == [("verified", "shelf")] * 2
    assert sorted(path.name for path in folder.iterdir()) == ["images", "labels", "origins.json"]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-1], lambda content: b"X" + content[1:], lambda content: b""],
    ids=["truncated", "altered", "emptied"],
)
def test_a_damaged_file_is_found_and_repaired(
    dataset: Dataset,
    asked: Path,
    folder: Path,
    damage: Callable[[bytes], bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache.fetch(dataset)
    images = folder / "images"
    images.write_bytes(damage(CONTENTS["images"]))
    assert next(cache.inspect(dataset))[1:] == ("damaged", "-")
    with caplog.at_level(logging.WARNING, logger="trackml"):
        assert is_complete(dataset)
    assert images.read_bytes() == CONTENTS["images"]
    assert asked.read_text() == "images labels\nimages\n"
    assert [record.message for record in caplog.records] == [
        f"{images} is damaged: fetching it again"
    ]


def test_a_source_with_wrong_content_is_skipped(dataset: Dataset) -> None:
    forger = Shelf("/dev/null", (("images", b"forged"), ("labels", CONTENTS["labels"])), label="f")
    contents, source = cache.fetch(replace(dataset, sources=(forger, *dataset.sources)))
    assert contents == list(CONTENTS.values())
    assert source == "shelf, f"


def test_a_source_that_breaks_is_skipped_and_named(dataset: Dataset, folder: Path) -> None:
    broken = Failing(zipfile.BadZipFile("no end of archive"))
    assert cache.fetch(replace(dataset, sources=(broken, *dataset.sources)))[1] == "shelf"
    (folder / "images").unlink()
    with pytest.raises(cache.DataUnavailable, match="failing: BadZipFile: no end of archive"):
        cache.fetch(replace(dataset, sources=(broken,)))


@pytest.mark.parametrize("damaged", [False, True])
def test_a_file_that_a_person_put_into_the_cache_is_used(
    dataset: Dataset, folder: Path, damaged: bool
) -> None:
    for name, content in CONTENTS.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        if damaged:
            (folder / name).write_bytes(content[:-2])
    contents, source = cache.fetch(replace(dataset, sources=(Failing(),)))
    assert contents == list(CONTENTS.values())
    assert source == "put into the cache by hand"


def test_a_wrong_file_that_a_person_put_into_the_cache_is_named(
    dataset: Dataset, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "images.gz").write_bytes(gzip.compress(b"others"))
    with caplog.at_level(logging.WARNING, logger="trackml"):
        assert cache.fetch(dataset)[1] == "shelf"
    assert "not used: put into the cache by hand: for images: wrong checksum" in caplog.text


def test_without_a_source_the_message_says_which_file_to_put_where(
    dataset: Dataset, folder: Path
) -> None:
    (folder / "labels").write_bytes(CONTENTS["labels"])
    with pytest.raises(cache.DataUnavailable) as failure:
        cache.fetch(replace(dataset, sources=(Failing(),)))
    message = str(failure.value)
    assert message.startswith("tiny: no source could provide it (")
    assert f"failing: no response). Put into {folder}: images or images.gz. Or set" in message
    assert "\n" not in message
    assert "labels" not in message


def test_processes_that_fetch_at_once_all_succeed_and_ask_once(
    dataset: Dataset, asked: Path
) -> None:
    slow = replace(dataset, sources=(Shelf(str(asked), seconds=2),))
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert all(pool.map(is_complete, [slow] * 3, chunksize=1))
    assert asked.read_text() == "images labels\n"


def test_a_file_and_its_archive_are_as_good_as_one(dataset: Dataset, folder: Path) -> None:
    (folder / "images.gz").write_bytes(gzip.compress(CONTENTS["images"]))
    (folder / "images").write_bytes(CONTENTS["images"])
    assert is_complete(dataset)


def test_a_failure_is_shared_by_all_that_wait_for_it(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[Path] = []
    tries: list[Collection[str]] = []

    class Slow(Failing):
        def fetch(self, names: Collection[str]) -> Contents:
            tries.append(names)
            while len(waiting) < 3:
                time.sleep(0.01)
            time.sleep(0.1)  # the file system's clock may be that late
            yield from super().fetch(names)

    def lock(path: Path) -> FileLock:
        waiting.append(path)
        return FileLock(path)

    def ask() -> None:
        with pytest.raises(cache.DataUnavailable, match="failing: no response"):
            cache.fetch(replace(dataset, sources=(Slow(),)))

    monkeypatch.setattr(cache, "lock_file", lock)
    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tries) == 1
    ask()  # a later one asks again
    assert len(tries) == 2


@pytest.mark.parametrize("origins", [b"null", b"[1]", b"{", b'{"images": 1}'])
def test_damaged_origins_are_no_obstacle(dataset: Dataset, folder: Path, origins: bytes) -> None:
    cache.fetch(dataset)
    (folder / "origins.json").write_bytes(origins)
    assert is_complete(dataset)


def test_a_complete_cache_needs_no_lock_and_no_write(
    dataset: Dataset, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.fetch(dataset)
    monkeypatch.setattr(cache, "lock_file", lambda *_: pytest.fail("locked"))
    assert is_complete(dataset)


def test_a_cache_that_cannot_be_written_is_named(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("TRACKML_DATA_DIR", str(tmp_path / "file"))
    with pytest.raises(TrackmlError, match=r"cannot write to .*TRACKML_DATA_DIR"):
        cache.fetch(dataset)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which a real web server on this machine shows it."""
    shown = tmp_path / "web"
    shown.mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(shown))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield shown, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_users_mirror_is_asked_first_and_its_password_kept_secret(
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


@pytest.mark.parametrize("first", ["missing", "damaged"])
def test_the_second_mirror_helps_where_the_first_has_no_good_file(
    dataset: Dataset, web: tuple[Path, str], first: str
) -> None:
    shown, address = web
    for place in ("damaged", "good"):
        (shown / place).mkdir()
        for name, content in CONTENTS.items():
            (shown / place / name).write_bytes(content[:-1] if place == "damaged" else content)
    mirrors = Mirrors(f"{address}/{first}/{{name}}", f"{address}/good/{{name}}")
    assert is_complete(replace(dataset, sources=(mirrors,)))


class BreaksOff(socketserver.StreamRequestHandler):
    """Promises 100 bytes, and sends 10."""

    def handle(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\n0123456789")


def test_the_second_mirror_helps_where_the_connection_to_the_first_breaks(
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


def test_a_mirror_that_lacks_a_file_says_so(web: tuple[Path, str]) -> None:
    with pytest.raises(SourceError, match=r"images from 127\.0\.0\.1:\d+: 404"):
        list(Mirrors(f"{web[1]}/{{name}}").fetch(["images"]))
