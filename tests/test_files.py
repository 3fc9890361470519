"""Files are replaced as a whole, and folders that cannot be written are explained."""

import multiprocessing
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from trackml.errors import TrackmlError
from trackml.files import replace_file, writable


def _replace_often(path: Path, letter: bytes) -> None:
    os.umask(0o077)
    for _ in range(50):
        replace_file(path, lambda file: file.write(letter * 100_000), permissions=0o644)


def test_processes_that_replace_a_file_at_once_leave_one_of_its_contents(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(_replace_often, [(path, b"a"), (path, b"b")])
    assert path.read_bytes() in {b"a" * 100_000, b"b" * 100_000}
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_replacement_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(file: BinaryIO) -> None:
        file.write(b"new")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_file(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_created_is_explained_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "runs"
    message = rf"^cannot write to {folder}, where runs are kept: .*.* set RUNS_DIR"
    with (
        pytest.raises(TrackmlError, match=message),
        writable(folder, "where runs are kept", "RUNS_DIR"),
    ):
        pytest.fail("the block ran")
