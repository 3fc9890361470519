"""No pickle is written: in bytes, however deep in archives. The scanner itself, by properties."""

import bz2
import gzip
import io
import json
import lzma
import marshal
import pickle
import shutil
import sqlite3
import zipfile
import zlib
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from tests.conftest import Finished, small_model
from tests.tracking.toy import Store
from trackml.backends import keras
from trackml.checks.pickles import find_pickles

VALUES = st.recursive(
    st.none() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def findings(content: bytes, folder: Path, name: str = "file") -> list[str]:
    (folder / name).write_bytes(content)
    return list(find_pickles(folder / name))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bytes")


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zlib.compress])
@settings(max_examples=25)
@given(value=VALUES, protocol=st.integers(2, 5))
def test_any_pickle_is_found_compressed_or_not(
    pack: Callable[[bytes], bytes], value: Any, protocol: int, folder: Path
) -> None:
    assert findings(pack(pickle.dumps(value, protocol)), folder) == ["file: a pickle"]


@given(before=st.text(), after=st.text(), protocol=st.integers(2, 5))
def test_a_pickle_with_a_class_is_found_in_a_text_and_as_base64(
    before: str, after: str, protocol: int, folder: Path
) -> None:
    content = pickle.dumps(OrderedDict(weights=[1.0]), protocol)
    inside = before.encode() + content + after.encode()
    assert findings(inside, folder)
    assert findings(json.dumps({before: b64encode(content).decode()}).encode(), folder)


@given(content=st.lists(st.floats(width=32)).map(lambda each: np.array(each, "f4").tobytes()))
def test_numbers_are_no_pickle(content: bytes, folder: Path) -> None:
    assert findings(b"\0" + content, folder) == []


@given(text=st.text() | VALUES.map(repr))
def test_a_text_is_no_pickle(text: str, folder: Path) -> None:
    assert findings(f"# {text}".encode(), folder) == []


def zipped(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


def saved(save: Callable[..., object], *values: Any, **options: Any) -> bytes:
    """What a function writes into a file."""
    content = io.BytesIO()
    save(content, *values, **options)
    return content.getvalue()


def torch_save(file: Any, value: Any, **options: Any) -> None:
    torch.save(value, file, **options)


def database(value: bytes) -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("create table studies (value blob)")
    connection.execute("insert into studies values (?)", [value])
    connection.commit()
    return connection.serialize()


OBJECTS = np.array([{}], object)
CODE = compile("1 + 1", "code", "exec")
PICKLED = pickle.dumps({"a": print})


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (pickle.dumps(print, 0), "file: a pickle"),
        (saved(np.save, OBJECTS), "file: an array of objects, which is a pickle"),
        (saved(np.savez, a=OBJECTS), "file/a.npy: an array of objects, which is a pickle"),
        (zipped(a=zipped(b=PICKLED)), "file/a/b: a pickle"),
        (b"#!/bin/sh\n" + zipped(a=PICKLED), "file/a: a pickle"),
        (saved(lambda file: joblib.dump(OBJECTS, file, compress=3)), "file: a pickle"),
        (saved(torch_save, torch.ones(2)), "file/archive/data.pkl: a pickle"),
        (
            saved(torch_save, torch.ones(2), _use_new_zipfile_serialization=False),
            "file: a pickle",
        ),
        (marshal.dumps(CODE), "file: compiled Python code"),
        (database(PICKLED), "file: a pickle within other bytes"),
        (database(b"1.0"), None),
        (saved(np.savez, a=np.arange(9.0)), None),
        (b"cos\nsystem\n", None),
        (b"", None),
    ],
)
def test_formats_of_others(content: bytes, found: str | None, folder: Path) -> None:
    assert findings(content, folder) == ([found] if found else [])


def test_random_numbers_are_no_pickle(folder: Path) -> None:
    random = np.random.default_rng(0)
    assert findings(random.bytes(10_000_000), folder) == []
    assert findings(random.normal(size=1_000_000).astype(np.float32).tobytes(), folder) == []


def test_a_function_in_a_model_of_keras_is_found(folder: Path) -> None:
    model = small_model()
    model.save(folder / "plain.keras")
    assert list(find_pickles(folder / "plain.keras")) == []
    doubled = keras.layers.Lambda(lambda x: x * 2)(model.output)
    keras.Model(model.input, doubled).save(folder / "lambda.keras")
    found = "lambda.keras/config.json: a Python function as bytes (__lambda__)"
    assert list(find_pickles(folder / "lambda.keras")) == [found]


def test_of_an_exported_program_the_example_alone_may_be_tensors(folder: Path) -> None:
    """PyTorch has no other format for it, and reads it without running anything."""
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.ones(3, 2),))
    path = folder / "model.pt2"
    torch.export.save(program, path)
    assert list(find_pickles(path)) == []
    shutil.copy(path, folder / "other.zip")
    (found,) = find_pickles(folder / "other.zip")
    assert "/data/sample_inputs/" in found


def test_what_runs_write_has_no_pickle(finished: Finished) -> None:
    """The database, artifacts, and the models of all frameworks."""
    suffixes = {path.suffix for path in finished.folder.rglob("*")}
    assert suffixes >= {".db", ".keras", ".pt2", ".npz", ".png", ".json", ".txt"}
    assert list(find_pickles(finished.folder)) == []


def test_what_an_unfinished_run_keeps_has_no_pickle(store: Store, empty_folder: Path) -> None:
    store.failed(after=2)
    (checkpoint,) = empty_folder.rglob("checkpoint.npz")
    assert checkpoint.with_name("run.json").exists()
    assert list(find_pickles(empty_folder)) == []
