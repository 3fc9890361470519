"""Images of one's own: as arrays, and in folders."""

import io
import random
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trackml.data import ImageData
from trackml.errors import UsageError

IMAGES = np.zeros((12, 4, 4), np.uint8)
LABELS = np.arange(12) % 3


def images_of(images: Any, labels: Any, *test: Any) -> ImageData:
    part = (images, labels)
    options: dict[str, Any] = {"validation_split": 0.5, "keep_order": True}
    return ImageData.from_arrays("own", part, test or part, classes="abc", **options)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((IMAGES / 255, LABELS), r"raw pixels, uint8 \(N, height, width\), .* Received: float64"),
        ((IMAGES[..., None, None], LABELS), r"Received: uint8 \(12, 4, 4, 1, 1\)"),
        ((np.zeros((12, 3, 8, 8), np.uint8), LABELS), r"1 to 4 channels\. .* \(12, 3, 8, 8\)"),
        ((IMAGES[:, :0], LABELS), r"Received: uint8 \(12, 0, 4\)"),
        ((IMAGES, LABELS[:7]), r"Received: 12 images and labels int64 \(7,\)"),
        ((IMAGES, np.full(12, 0.5)), r"integer label .* 12 images and labels float64"),
        ((IMAGES[:0], LABELS[:0]), "at least one image.* Received: 0 images"),
        ((IMAGES, LABELS + 1), r"indices of the 3 classes\. Received: 1 to 3"),
        ((IMAGES, LABELS - 1), r"indices of the 3 classes\. Received: -1 to 1"),
        ((IMAGES, LABELS, IMAGES[:, 1:], LABELS), r"have the size of .* \(3, 4\) and \(4, 4\)"),
        ((IMAGES, LABELS, IMAGES[..., None], LABELS), r"\(4, 4, 1\) and \(4, 4\)"),
    ],
)
def test_arrays_are_checked(arrays: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        images_of(*arrays)


def test_two_classes_need_two_names() -> None:
    with pytest.raises(ValueError, match="each class needs its own name"):
        ImageData.from_arrays("own", (IMAGES, LABELS), classes=["a", "a", "b"])


@pytest.mark.parametrize("shape", [(4, 4), (1, 9), (5, 3, 1), (2, 2, 3), (8, 8, 4)])
def test_images_of_any_size_are_split_and_have_a_checksum(shape: tuple[int, ...]) -> None:
    images = np.zeros((12, *shape), np.uint8)
    data = images_of(images, LABELS.astype(np.uint8))
    np.testing.assert_array_equal(data.validation.labels, LABELS[6:])
    assert data.train.images.shape == (6, *shape)
    assert not any(array.flags.writeable for array in (*data.train.arrays, *data.test.arrays))
    assert data.train.labels.dtype == np.int64
    assert data.sha256 == images_of(images, LABELS).sha256 != images_of(images + 1, LABELS).sha256


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten red cats and ten blue dogs, as PNG and JPEG, and hidden files."""
    folder = tmp_path / "photos"
    for number in range(20):
        cat = number % 2
        file = folder / ("cat" if cat else "dog") / f"{number:02}.{'png' if cat else 'jpg'}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), "red" if cat else "blue").save(file)
    (folder / ".git").mkdir()
    (folder / "cat" / ".DS_Store").write_text("hidden")
    return folder


def read(folder: Path, **options: Any) -> ImageData:
    return ImageData.from_folder("photos", folder, **options)


def test_subfolders_are_classes(photos: Path) -> None:
    data = read(photos)
    assert (data.classes, data.source) == (("cat", "dog"), str(photos))
    assert [len(each) for each in (data.train, data.validation, data.test)] == [14, 2, 4]
    assert data.train.images.shape == (14, 4, 6, 3)
    for image, label in zip(*data.train.arrays, strict=True):
        assert image[..., 2 * label].min() > 250  # red, or blue
        assert image[..., 1].max() < 5
    assert data.sha256 == read(photos).sha256 != read(photos, size=(4, 5)).sha256


def save(folder: Path, mode: str, name: str = "cat/x.png", size: tuple[int, int] = (6, 4)) -> None:
    pixels = Image.fromarray(np.full((size[1], size[0]), 40_000, np.uint16))  # 156 of 8 bits
    (pixels if mode == "I;16" else Image.new(mode, size)).save(folder / name)


def test_images_are_converted_and_resized_if_that_is_asked_for(photos: Path) -> None:
    for number, mode in enumerate(("L", "LA", "P", "RGBA", "I;16", "1")):
        save(photos, mode, f"cat/x{number}.png", size=(30, 40))
    gray, color = read(photos, color=False, size=(8, 9)), read(photos, color=True, size=(8, 9))
    assert gray.train.images.shape == (len(gray.train), 8, 9)
    assert color.train.images.shape == (len(color.train), 8, 9, 3)
    parts = (gray.train, gray.validation, gray.test)
    values = {int(image[0, 0]) for part in parts for image in part.images}
    # Black, red and blue by their brightness, transparent as white, 16 bits by the upper ones.
    assert values == {0, 76, 29, 255, 156}


def test_a_folder_of_its_own_is_the_test_split(photos: Path) -> None:
    later = photos.parent / "later"
    shutil.copytree(photos, later)
    data = read(photos, test=later)
    assert [len(each) for each in (data.train, data.validation, data.test)] == [18, 2, 20]
    shutil.copytree(later / "cat", later / "owl")
    with pytest.raises(
        UsageError, match=r"must have the subfolders of .* only one of them has owl"
    ):
        read(photos, test=later)


def test_a_photo_is_upright(photos: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    for path in (photos / "cat").glob("*.png"):
        Image.new("RGB", (4, 6)).save(path, exif=exif)
    assert read(photos).train.images.shape[1:] == (4, 6, 3)


@pytest.mark.parametrize(
    ("mode", "name", "size", "message"),
    [
        ("L", "cat/x.png", (6, 4), r"1 gray, not RGB; color=True .* converts \(cat/x\.png\)$"),
        ("P", "cat/x.png", (6, 4), "1 with a palette, not RGB"),
        ("I;16", "cat/x.png", (6, 4), "1 gray of 16 bits, not RGB"),
        ("RGBA", "cat/x.png", (6, 4), "1 RGB with transparency, not RGB"),
        (
            "RGB",
            "cat/x.png",
            (7, 4),
            r"1 not of 4 x 6 pixels, as most; size=\(height, width\) resizes",
        ),
        ("RGB", "x.png", (6, 4), r"1 outside of a class's subfolder \(x\.png\)$"),
        ("RGB", "cat/x.tga", (6, 4), r"1 not readable as PNG, .* \(cat/x\.tga\)$"),
        ("1", "cat/x.png", (10_000, 10_000), r"1 of too many pixels \(cat/x\.png\)$"),
    ],
)
def test_an_image_of_another_kind_is_named(
    photos: Path, mode: str, name: str, size: tuple[int, int], message: str
) -> None:
    save(photos, mode, name, size)
    with pytest.raises(UsageError, match=message):
        read(photos)


def test_a_link_that_leads_nowhere_is_not_called_damaged(photos: Path) -> None:
    (photos / "cat" / "gone.png").symlink_to(photos / "no.png")
    with pytest.raises(UsageError, match=r"1 not readable \(No such file or directory\) \(cat/gon"):
        read(photos)


def test_files_that_are_no_images_are_counted_and_the_first_are_named(photos: Path) -> None:
    whole = (photos / "cat" / "01.png").read_bytes()
    for number in range(5):
        (photos / "dog" / f"cut{number}.png").write_bytes(whole[:50])
    (photos / "dog" / "inner").mkdir()
    with pytest.raises(UsageError) as failure:
        read(photos)
    named = "5 not readable as PNG, JPEG, WEBP, GIF, BMP, TIFF, PPM "
    assert named + "(dog/cut0.png, dog/cut1.png, dog/cut2.png, …)" in str(failure.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"])
def test_a_damaged_image_is_read_or_named(photos: Path, kind: str) -> None:
    content, dice = io.BytesIO(), random.Random(0)
    noise = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    Image.fromarray(noise).save(content, kind)
    named = 0
    for _ in range(25):
        damaged = bytearray(content.getvalue())
        for _ in range(4):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        (photos / "cat" / "x").write_bytes(damaged)
        try:
            read(photos, color=True, size=(4, 6))
        except UsageError as error:
            assert re.search("1 (not readable as|of too many pixels)", str(error))  # noqa: PT017
            named += 1
    assert named


def test_a_folder_without_classes_or_images_is_refused(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    (photos / "owl").mkdir()
    for folder, message in {
        "absent": "absent does not exist; expected a folder with a subfolder of images per class",
        "photos/cat/01.png": "is a file; expected a folder",
        "empty": r"1 empty: add images, or remove the folder \(cat\)",
        "photos": r"1 empty: add images, or remove the folder \(owl\)",
    }.items():
        with pytest.raises(UsageError, match=message):
            read(tmp_path / folder)
    with pytest.raises(ValueError, match=r"size must be \(height, width\), in pixels"):
        read(photos, size=(0, 8))
