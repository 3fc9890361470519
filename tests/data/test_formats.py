import gzip
import hashlib
import io
import tarfile
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from trackml.data import cache
from trackml.data.catalog import CALIFORNIA_HOUSING
from trackml.data.formats import (
    HOUSING_FEATURES,
    HOUSING_TARGET,
    decode_housing,
    decode_idx,
    parse_housing,
    parse_idx,
)


def idx(array: NDArray[np.uint8]) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
    return header + array.tobytes()


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=3, min_side=0)))
def test_idx_files_are_read_back(array: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(parse_idx(idx(array)), array)


@given(st.binary(max_size=500).filter(lambda content: not content.startswith(b"\x1f\x8b")))
def test_gzipped_and_plain_files_give_the_same_content(content: bytes) -> None:
    assert decode_idx(gzip.compress(content), len(content)) == content
    assert decode_idx(content, len(content)) == content


def test_a_gzip_bomb_is_cut_off_at_the_expected_size() -> None:
    assert len(decode_idx(gzip.compress(bytes(10**7)), 1000)) == 1001


def test_a_broken_gzip_stream_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="broken gzip"):
        decode_idx(b"\x1f\x8b" + b"nonsense" * 10, 100)


def test_scikit_learns_archive_gives_the_canonical_bytes() -> None:
    """StatLib's integer columns, recovered from the canonical table, must lead back to it."""
    (content,), _ = cache.fetch(CALIFORNIA_HOUSING)
    table = parse_housing(content).astype(np.float64)
    income, age, rooms, bedrooms, population, occupancy, latitude, longitude, value = table.T
    households = np.round(population / occupancy)
    raw = (
        np.round(longitude, 2),
        np.round(latitude, 2),
        age,
        np.round(rooms * households),
        np.round(bedrooms * households),
        population,
        households,
        np.round(income, 4),
        np.round(value * 100_000),
    )
    text = io.StringIO()
    np.savetxt(text, np.stack(raw, axis=1), delimiter=",", fmt="%.6f")
    archive = archive_of("CaliforniaHousing/cal_housing.data", text.getvalue().encode())
    decoded = decode_housing(archive, 0)
    assert hashlib.sha256(decoded).hexdigest() == CALIFORNIA_HOUSING.files[0].sha256


def test_a_parquet_file_that_is_cut_is_a_value_error() -> None:
    buffer = io.BytesIO()
    columns = {name: np.arange(1000.0) for name in (*HOUSING_FEATURES, HOUSING_TARGET)}
    pq.write_table(pa.table(columns), buffer, compression="brotli", use_dictionary=False)
    whole = buffer.getvalue()
    assert len(decode_housing(whole, 0)) == 1000 * 9 * 4
    spoilt = whole[:200] + b"\xff" * 400 + whole[600:]
    with pytest.raises(ValueError, match="not a Parquet file"):
        decode_housing(spoilt, 0)


def parquet_of(names: Sequence[str]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({name: np.arange(10.0) for name in names}), buffer)
    return buffer.getvalue()


def test_a_column_that_is_missing_is_named() -> None:
    without = [name for name in (*HOUSING_FEATURES, HOUSING_TARGET) if name != "Population"]
    with pytest.raises(ValueError, match="not just one column Population"):
        decode_housing(parquet_of(without), 0)


def test_a_column_that_is_there_twice_is_named() -> None:
    names = [*HOUSING_FEATURES, HOUSING_TARGET, "MedInc"]
    buffer = io.BytesIO()
    pq.write_table(pa.table([np.arange(10.0)] * len(names), names=names), buffer)
    with pytest.raises(ValueError, match="not just one column MedInc"):
        decode_housing(buffer.getvalue(), 0)


def test_a_column_that_has_no_numbers_is_a_value_error() -> None:
    columns: dict[str, object] = {name: np.arange(3.0) for name in HOUSING_FEATURES}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns | {HOUSING_TARGET: ["dear", "cheap", "fair"]}), buffer)
    with pytest.raises(ValueError, match="not a Parquet file of California housing"):
        decode_housing(buffer.getvalue(), 0)


@pytest.mark.parametrize("content", [b"", b"1,2,3,4,5,6,7,8\n", b"1,2\n1,2,3\n", b"a,b\n"])
def test_an_archive_with_other_columns_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"cal_housing\.data|inhomogeneous|convert"):
        decode_housing(archive_of("CaliforniaHousing/cal_housing.data", content), 0)


def test_columns_of_a_parquet_file_may_have_any_order() -> None:
    names = (*HOUSING_FEATURES, HOUSING_TARGET)
    assert decode_housing(parquet_of(names[::-1]), 0) == decode_housing(parquet_of(names), 0)


@pytest.mark.parametrize(
    "raw", [gzip.compress(b"not a tar"), b"PAR1 and then nothing"], ids=["gzip", "parquet"]
)
def test_anything_else_than_housing_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not "):
        decode_housing(raw, 0)


def test_an_archive_without_the_data_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"cal_housing\.data"):
        decode_housing(archive_of("something/else.txt", b"1,2"), 0)


def archive_of(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
