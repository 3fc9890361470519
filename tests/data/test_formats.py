"""Files of every format that a source may have, and damaged ones."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from trackml.data import cache
from trackml.data.datasets import CALIFORNIA_HOUSING
from trackml.data.formats import (
    HOUSING_COLUMNS,
    decode_housing,
    decode_idx,
    parse_housing,
    parse_idx,
)

NUMBERS = np.arange(1000.0)


def idx(array: NDArray[np.uint8]) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
    return header + array.tobytes()


def parquet(names: Sequence[str], columns: Sequence[object] = (), **options: object) -> bytes:
    buffer = io.BytesIO()
    table = pa.table(columns or [NUMBERS] * len(names), names=list(names))
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def archive(content: bytes, name: str = "CaliforniaHousing/cal_housing.data") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=3, min_side=0)))
def test_idx_files_are_read_back(array: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(parse_idx(idx(array)), array)


@given(st.binary(max_size=500).filter(lambda content: not content.startswith(b"\x1f\x8b")))
def test_gzipped_and_plain_files_give_the_same_content(content: bytes) -> None:
    assert decode_idx(gzip.compress(content), len(content)) == content
    assert decode_idx(content, len(content)) == content


def test_a_gzip_bomb_is_cut_off_at_the_expected_size() -> None:
    assert len(decode_idx(gzip.compress(bytes(10**7)), 1000)) == 1001


def test_a_broken_gzip_stream_is_refused() -> None:
    with pytest.raises(ValueError, match="broken gzip"):
        decode_idx(b"\x1f\x8b" + b"nonsense" * 10, 100)


def test_scikit_learns_archive_gives_the_canonical_bytes() -> None:
    """StatLib's integer columns, computed from the canonical table, must give it back."""
    (content,), _ = cache.fetch(CALIFORNIA_HOUSING)
    table = parse_housing(content).astype(np.float64)
    income, age, rooms, bedrooms, population, occupancy, latitude, longitude, value = table.T
    households = np.round(population / occupancy)
    columns = [np.round(longitude, 2), np.round(latitude, 2), age, np.round(rooms * households)]
    columns += [np.round(bedrooms * households), population, households, np.round(income, 4)]
    columns += [np.round(value * 100_000)]
    text = io.StringIO()
    np.savetxt(text, np.stack(columns, axis=1), delimiter=",", fmt="%.6f")
    decoded = decode_housing(archive(text.getvalue().encode()), 0)
    assert hashlib.sha256(decoded).hexdigest() == CALIFORNIA_HOUSING.files[0].sha256


def test_columns_of_a_parquet_file_may_have_any_order() -> None:
    decoded = decode_housing(parquet(HOUSING_COLUMNS), 0)
    assert len(decoded) == 1000 * 9 * 4
    assert decode_housing(parquet(HOUSING_COLUMNS[::-1]), 0) == decoded


WITHOUT_POPULATION = [name for name in HOUSING_COLUMNS if name != "Population"]
TEXTS = [*[NUMBERS] * 8, ["expensive"] * 1000]
WHOLE = parquet(HOUSING_COLUMNS, compression="brotli", use_dictionary=False)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (parquet(WITHOUT_POPULATION), "must have one column Population"),
        (parquet([*HOUSING_COLUMNS, "MedInc"]), "must have one column MedInc"),
        (parquet(HOUSING_COLUMNS, TEXTS), "not a Parquet file of California housing"),
        (WHOLE[:200] + b"\xff" * 400 + WHOLE[600:], "not a Parquet file of California housing"),
        (b"PAR1 and then nothing", "not a Parquet file of California housing"),
        (gzip.compress(b"not a tar"), "not scikit-learn's archive"),
        (archive(b"1,2", "something/else.txt"), r"not scikit-learn's archive: .*cal_housing\.data"),
        (archive(b""), r"cal_housing\.data must have 9 columns"),
        (archive(b"1,2,3,4,5,6,7,8\n"), r"cal_housing\.data must have 9 columns"),
        (archive(b"1,2\n1,2,3\n"), "inhomogeneous"),
        (archive(b"a,b\n"), "convert"),
    ],
    ids=["column", "twice", "text", "damaged", "parquet", "gzip", "name", "0", "8", "rows", "ab"],
)
def test_other_files_than_housing_are_refused(raw: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_housing(raw, 0)
