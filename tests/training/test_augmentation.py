import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackml.training.augmentation import _resample, random_affine

SQUARE = np.zeros((1, 15, 15), np.uint8)
SQUARE[0, 3:6, 7:10] = 200  # above the centre, a bit to the right


def resampled(
    angle: float = 0, scale: float = 1, right: float = 0, down: float = 0
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    one = [np.array([value], np.float32) for value in (angle, scale, right, down)]
    image: np.ndarray[tuple[int, int], np.dtype[np.float32]] = _resample(SQUARE, *one).numpy()[0]
    return image


def centre(image: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> tuple[float, float]:
    """(row, column) of the mass of an image."""
    rows, columns = np.indices(image.shape)
    return float((rows * image).sum() / image.sum()), float((columns * image).sum() / image.sum())


def test_nothing_asked_nothing_changed() -> None:
    np.testing.assert_allclose(resampled(), SQUARE[0])
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    np.testing.assert_allclose(random_affine(0, 0, 0)(images, [1, 2]), images)


def test_a_shift_moves_right_and_down() -> None:
    np.testing.assert_allclose(resampled(right=2, down=3), np.roll(SQUARE[0], (3, 2), (0, 1)))


def test_a_quarter_turn_turns_about_the_centre() -> None:
    turned = resampled(angle=np.pi / 2)
    assert any(np.allclose(turned, np.rot90(SQUARE[0], quarter), atol=1e-2) for quarter in (1, -1))


def test_a_scale_above_one_enlarges_and_moves_away_from_the_centre() -> None:
    enlarged = resampled(scale=1.5)
    assert enlarged.sum() == pytest.approx(SQUARE.sum() * 1.5**2, rel=0.1)
    row, column = centre(SQUARE[0])
    assert centre(enlarged) == pytest.approx((7 + 1.5 * (row - 7), 7 + 1.5 * (column - 7)), abs=0.1)


def test_what_comes_in_from_outside_is_black() -> None:
    white = np.full((20, 28, 28), 255, np.uint8)
    shifted = random_affine(0, 0, 0.5)(white, [0, 0]).numpy()
    assert shifted.min() == 0
    assert shifted.max() == pytest.approx(255, abs=1e-3)


@settings(max_examples=20)
@given(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1))
def test_a_seed_gives_the_same_images_and_each_image_its_own_change(a: int, b: int) -> None:
    images = np.repeat(SQUARE, 4, axis=0)
    augment = random_affine(10, 0.1, 0.1)
    first, again = augment(images, [a, b]).numpy(), augment(images, [a, b]).numpy()
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first, augment(images, [a, (b + 1) % 2**31]).numpy())


def test_sizes_stay_within_their_limits_and_use_them() -> None:
    images = np.repeat(SQUARE, 500, axis=0)
    areas = random_affine(0, 0.2, 0)(images, [0, 0]).numpy().sum(axis=(1, 2)) / SQUARE.sum()
    assert 0.7**2 < areas.min() < 0.85**2
    assert 1.15**2 < areas.max() < 1.3**2


def test_angles_stay_within_their_limits_and_use_them() -> None:
    images = np.repeat(SQUARE, 500, axis=0)
    turned = np.array([centre(image) for image in random_affine(30, 0, 0)(images, [0, 0]).numpy()])
    angles = np.degrees(np.arctan2(turned[:, 0] - 7, turned[:, 1] - 7))
    row, column = centre(SQUARE[0])
    offsets = angles - np.degrees(np.arctan2(row - 7, column - 7))
    assert -31 < offsets.min() < -28
    assert 28 < offsets.max() < 31


def test_shifts_stay_within_their_limits_and_use_them() -> None:
    images = np.repeat(SQUARE, 500, axis=0)
    row, column = centre(SQUARE[0])
    moved = np.array([centre(image) for image in random_affine(0, 0, 0.1)(images, [0, 0]).numpy()])
    offsets = np.abs(moved - (row, column))
    assert 1.3 < offsets.max() <= 1.5 + 1e-3  # a tenth of 15 pixels
