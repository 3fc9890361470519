"""Files, arrays and tables as a model takes them, and the mistakes in them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from PIL import Image

from trackml.errors import UsageError
from trackml.prediction.inputs import BATCH_ROWS, ImageInput, TableInput, read_inputs

GRAY, COLOR, ANY = ImageInput((4, 6)), ImageInput((4, 6, 3)), ImageInput((-1, -1))
TABLE = TableInput(numbers=("age", "height"), texts=("town",))
PEOPLE = pd.DataFrame({"town": ["007", None], "height": [1.5, 2], "age": [1, 2], "x": ["?", "!"]})
random = np.random.default_rng(0)
PIXELS = random.integers(0, 256, size=(4, 6, 3), dtype=np.uint8)


def read(wanted: ImageInput | TableInput, what: object, **options: Any) -> list[Any]:
    return list(read_inputs(wanted, what, **options).batches)


def picture(path: Path, pixels: Any = PIXELS, mode: str | None = None, **options: Any) -> Path:
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


@given(st.integers(1, 40), st.integers(1, 9))
def test_batches_of_an_array_are_all_of_it_in_order(count: int, side: int) -> None:
    images = np.arange(count * side * side, dtype=np.uint8).reshape(count, side, side)
    inputs = read_inputs(ImageInput((side, -1)), images, resize=False)
    assert np.concatenate(list(inputs.batches)).tolist() == images.tolist()
    assert list(inputs.labels) == list(range(count))


def test_a_batch_has_a_limit() -> None:
    assert [len(part) for part in read(ImageInput((1, 1)), np.zeros((15_000, 1, 1), np.uint8))] == [
        BATCH_ROWS,
        15_000 - BATCH_ROWS,
    ]
    assert [len(part) for part in read(ANY, np.zeros((3, 5_000, 4_000), np.uint8))] == [1, 1, 1]


def test_an_npy_file_is_read_as_it_is(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", PIXELS[np.newaxis])
    (batch,) = read(COLOR, tmp_path / "images.npy")
    assert batch.tolist() == [PIXELS.tolist()]


def test_a_folder_has_its_images_with_those_of_its_subfolders_by_name(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for name in ("b.png", "a.png", "more/c.PNG", ".hidden.png"):
        picture(tmp_path / name, mode="L")
    (tmp_path / "notes.txt").write_text("x")
    inputs = read_inputs(GRAY, tmp_path, resize=False)
    assert inputs.labels.tolist() == ["a.png", "b.png", "more/c.PNG"]
    assert inputs.labels.name == "file"
    assert [part.shape for part in inputs.batches] == [(3, 4, 6)]


def test_images_of_several_sizes_go_to_a_model_for_any_size(tmp_path: Path) -> None:
    for name, pixels in {"a.png": PIXELS, "b.png": PIXELS, "c.png": PIXELS[:2]}.items():
        picture(tmp_path / name, pixels, mode="L")
    assert [part.shape for part in read(ANY, tmp_path)] == [(2, 4, 6), (1, 2, 6)]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "LA", "I;16"])
@pytest.mark.parametrize("wanted", [GRAY, COLOR])
def test_images_are_converted_when_that_is_asked_for(
    mode: str, wanted: ImageInput, tmp_path: Path
) -> None:
    is_deep = mode == "I;16"
    pixels = np.full((8, 9), 40_000, np.uint16) if is_deep else np.zeros((8, 9, 3), np.uint8)
    file = picture(tmp_path / "a.png", pixels, None if is_deep else mode)
    with pytest.raises(UsageError, match="--resize true converts it"):
        read(wanted, file)
    ((image,),) = read(wanted, file, resize=True)
    assert (image.shape, image.dtype) == (wanted.shape, np.uint8)
    assert (image == (40_000 >> 8 if is_deep else 0)).all()


def test_what_is_transparent_becomes_white_and_a_photo_is_upright(tmp_path: Path) -> None:
    clear = picture(tmp_path / "clear.png", np.zeros((4, 6, 4), np.uint8))
    assert read(GRAY, clear, resize=True)[0].min() == 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    turned = picture(tmp_path / "turned.png", PIXELS.transpose(1, 0, 2).copy(), exif=exif)
    assert read(COLOR, turned)[0].shape == (1, 4, 6, 3)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_gives_the_columns_by_name_numbers_and_texts(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"people.{suffix}"
    PEOPLE.to_csv(file, index=False) if suffix == "csv" else PEOPLE.to_parquet(file)
    inputs = read_inputs(TABLE, file, resize=False)
    (table,) = inputs.batches
    assert isinstance(table, pd.DataFrame)
    assert table.columns.tolist() == ["age", "height", "town"]
    assert table["age"].tolist() == [1.0, 2.0]
    assert table["town"].dtype == object
    assert table["town"].tolist()[0] == "007"
    assert table["town"].isna().tolist() == [False, True]
    assert inputs.labels.tolist() == [0, 1]


def test_a_csv_file_of_another_form_is_read_as_that_of_training(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("town;age;height\n007;true;1,5\n008;0;2\n")
    (table,) = read(TABLE, tmp_path / "a.csv", separator=";", decimal=",")
    assert table.to_dict("list") == {
        "age": [1.0, 0.0],
        "height": [1.5, 2.0],
        "town": ["007", "008"],
    }
    with pytest.raises(UsageError, match=r"received '1,5'; --decimal , reads 1,5 as a number"):
        read(TABLE, tmp_path / "a.csv", separator=";")


def test_a_table_keeps_its_index_as_labels() -> None:
    people = PEOPLE.set_axis(["ann", "bob"])
    inputs = read_inputs(TABLE, people, resize=False)
    assert inputs.labels.tolist() == ["ann", "bob"]
    (table,) = inputs.batches
    assert isinstance(table, pd.DataFrame)
    assert table.index.tolist() == [0, 1]


def wrong_files(folder: Path) -> dict[Path, tuple[Any, str]]:
    """Files, what takes them, and what is said."""
    text, objects = folder / "text.png", folder / "objects.npy"
    text.write_text("no image")
    np.save(objects, np.array([{}], dtype=object), allow_pickle=True)
    archive, empty, ragged = folder / "archive.npy", folder / "empty.csv", folder / "ragged.csv"
    with archive.open("wb") as file:
        np.savez(file, x=PIXELS)
    empty.touch()
    ragged.write_text("age,height\n1,2\n1,2,3,4\n")
    shifted, double = folder / "shifted.csv", folder / "double.csv"
    shifted.write_text("age,height,town\n1,2,3,\n")
    double.write_text("age,height,town,town\n1,2,3,4\n")
    (folder / "people.tsv").touch()
    (folder / "folder").mkdir()
    (folder / "not.parquet").write_text("x")
    floats = folder / "floats.npy"
    np.save(floats, PIXELS[np.newaxis] / 255)
    return {
        text: (GRAY, "text.png: not readable as PNG, JPEG"),
        objects: (GRAY, "objects.npy cannot be read as NPY"),
        archive: (GRAY, "archive.npy: the model takes uint8 (N, 4, 6); received: NpzFile"),
        floats: (COLOR, "expected uint8 (N, 4, 6, 3), received float64 (1, 4, 6, 3); pixels go in"),
        empty: (TABLE, "empty.csv cannot be read as CSV in UTF-8: No columns"),
        ragged: (TABLE, "ragged.csv cannot be read as CSV"),
        shifted: (TABLE, "shifted.csv: its rows have more fields than its first line has names"),
        double: (TABLE, "double.csv: each column needs its own name; twice: town"),
        folder / "people.tsv": (TABLE, "a file .tsv; tables are read from .csv and .parquet"),
        folder / "folder": (GRAY, "folder: there are no images in it"),
        folder / "not.parquet": (TABLE, "not.parquet cannot be read as Parquet"),
        folder / "no.npy": (GRAY, "no.npy: there is no such file or folder"),
        picture(folder / "big.jpg", np.zeros((8, 9, 3), np.uint8)): (
            GRAY,
            "big.jpg: expected an image of 6 x 4 pixels, gray; received 9 x 8, RGB; --resize",
        ),
        picture(folder / "float.tiff", np.zeros((4, 6), np.float32)): (
            GRAY,
            "received 6 x 4, gray of 32 bits",
        ),
    }


def test_a_wrong_file_is_named_in_one_line(tmp_path: Path) -> None:
    for file, (wanted, words) in wrong_files(tmp_path).items():
        with pytest.raises(UsageError) as refusal:
            read(wanted, file)
        assert words in str(refusal.value)
        assert str(refusal.value).startswith(str(file))
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("wanted", "what", "words"),
    [
        (GRAY, PIXELS[..., 0], "received uint8 (4, 6); a single image is a batch of one"),
        (GRAY, PIXELS[np.newaxis], "expected uint8 (N, 4, 6), received uint8 (1, 4, 6, 3)"),
        (GRAY, np.zeros((0, 4, 6), np.uint8), "received uint8 (0, 4, 6)"),
        (GRAY, PEOPLE, "the inputs: the model takes uint8 (N, 4, 6); received: a table"),
        (TABLE, np.zeros((2, 3)), "takes a table with the columns age, height, town; received: f"),
        (TABLE, PEOPLE.head(0), "the table has no rows"),
        (TABLE, PEOPLE.drop(columns="age"), "no column 'age'; it has town, height, x"),
        (TABLE, PEOPLE.rename(columns={"height": "heigth"}), "is 'heigth' meant?"),
        (TABLE, PEOPLE.rename(columns={"height": " Height "}), "is ' Height ' meant?"),
        (TABLE, PEOPLE.assign(age=["1", "old"]), "column 'age': expected numbers, received 'old'"),
        (TABLE, PEOPLE.set_axis(["town", "age", "age", "height"], axis=1), "several columns 'age'"),
    ],
)
def test_a_wrong_array_or_table_is_refused(
    wanted: ImageInput | TableInput, what: Any, words: str
) -> None:
    with pytest.raises(UsageError) as refusal:
        read(wanted, what)
    assert words in str(refusal.value)
