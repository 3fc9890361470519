"""Decode the files of sources into canonical bytes, and parse those into arrays."""

import io
import tarfile
import zlib

import numpy as np
from numpy.typing import NDArray

_COLUMNS = "MedInc HouseAge AveRooms AveBedrms Population AveOccup Latitude Longitude MedHouseVal"
HOUSING_COLUMNS = tuple(_COLUMNS.split())
HOUSING_FEATURES, HOUSING_TARGET = HOUSING_COLUMNS[:-1], HOUSING_COLUMNS[-1]

_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"  # first bytes
_MAX_ARCHIVE = 16 * 2**20  # bytes; the real archive holds 2 MB


def decode_idx(raw: bytes, size: int) -> bytes:
    """An IDX file, plain or gzipped → plain, cut off after `size` + 1 bytes; else ValueError."""
    return _gunzip(raw, size + 1) if raw.startswith(_GZIP) else raw


def decode_housing(raw: bytes, _size: int) -> bytes:
    """California housing → the canonical bytes: float32 little-endian rows of 9; else ValueError.

    Args:
        raw: scikit-learn's archive (.tgz), Parquet with named columns, or the canonical bytes.
    """
    if raw.startswith(_GZIP):
        return _housing_from_archive(_gunzip(raw, _MAX_ARCHIVE))
    return _housing_from_parquet(raw) if raw.startswith(_PARQUET) else raw


def parse_idx(content: bytes) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes: images uint8 (N, height, width), labels (N,).

    The format: two zero bytes, the type (8: unsigned byte), the rank, each dimension as a
    big-endian uint32, then the values in C order (https://yann.lecun.com/exdb/mnist/).
    """
    rank = content[3]
    shape = np.frombuffer(content, dtype=">u4", count=rank, offset=4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * rank).reshape(shape)


def parse_housing(content: bytes) -> NDArray[np.float32]:
    """The table of 20,640 districts, float32 (N, 9): the eight features, then the target."""
    return np.frombuffer(content, dtype="<f4").reshape(-1, len(HOUSING_COLUMNS))


def _gunzip(raw: bytes, limit: int) -> bytes:
    """Decompress to at most `limit` bytes, whatever size the stream claims."""
    try:
        return zlib.decompressobj(wbits=31).decompress(raw, limit)
    except zlib.error as error:
        raise ValueError(f"broken gzip stream: {error}") from None


def _housing_from_archive(archive: bytes) -> bytes:
    """StatLib's columns, reordered and averaged per household as scikit-learn documents it."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            member = tar.extractfile("CaliforniaHousing/cal_housing.data")
            if member is None:
                raise ValueError("cal_housing.data is not a file in this archive")
            table = np.array([line.split(b",") for line in member.read().splitlines()], float)
    except (tarfile.TarError, KeyError) as error:
        raise ValueError(f"not scikit-learn's archive: {error}") from None
    if table.ndim != 2 or table.shape[1] != 9:
        raise ValueError(f"cal_housing.data must have 9 columns. Received: {table.shape}")
    longitude, latitude, age, rooms, bedrooms, population, households, income, value = table.T
    columns = [income, age, rooms / households, bedrooms / households, population]
    columns += [population / households, latitude, longitude, value / 100_000]
    return np.stack(columns, axis=1).astype("<f4").tobytes()


def _housing_from_parquet(raw: bytes) -> bytes:
    import pyarrow
    from pyarrow import parquet

    names = list(HOUSING_COLUMNS)
    try:
        file = parquet.ParquetFile(pyarrow.BufferReader(raw))
        if wrong := [name for name in names if file.schema_arrow.names.count(name) != 1]:
            raise ValueError(f"the Parquet file must have one column {', '.join(wrong)}")
        columns = file.read(names).cast(pyarrow.schema([(n, pyarrow.float64()) for n in names]))
    except (pyarrow.ArrowException, OSError) as error:  # OSError: pages that do not decompress
        raise ValueError(f"not a Parquet file of California housing: {error}") from None
    return np.stack([columns[name].to_numpy() for name in names], axis=1).astype("<f4").tobytes()
