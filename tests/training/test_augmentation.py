from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from trackml.training.augmentation import _resample, random_affine
from trackml.training.checkpoint import Array

SQUARE = np.zeros((1, 15, 15), np.uint8)
SQUARE[0, 3:6, 7:10] = 200  # 3 above the center of the image, and 1 to the right
UP, RIGHT = 3, 1


def resampled(angle: float = 0, scale: float = 1, right: float = 0, down: float = 0) -> Any:
    amounts = [np.array([value], np.float32) for value in (angle, scale, right, down)]
    return _resample(SQUARE, *amounts).numpy()[0]


def offsets(images: Array) -> Array:
    """(up, right) of each image's center of mass from the center of the image, pixels: (N, 2)."""
    positions = np.moveaxis(np.indices(images.shape[1:]), 0, -1) - 7  # (15, 15, 2): down, right
    masses = images / images.sum(axis=(1, 2), keepdims=True)
    return np.tensordot(masses, positions, axes=2) * (-1, 1)


def augmented(rotation: float, zoom: float, shift: float) -> Any:
    return random_affine(rotation, zoom, shift)(np.repeat(SQUARE, 500, axis=0), [0, 0]).numpy()


def test_without_changes_images_stay_the_same() -> None:
    np.testing.assert_allclose(resampled(), SQUARE[0])
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    np.testing.assert_allclose(random_affine(0, 0, 0)(images, [1, 2]), images)


def test_a_shift_moves_right_and_down() -> None:
    np.testing.assert_allclose(resampled(right=2, down=3), np.roll(SQUARE[0], (3, 2), (0, 1)))


def test_a_quarter_turn_is_about_the_center() -> None:
    turned = resampled(angle=np.pi / 2)
    assert any(np.allclose(turned, np.rot90(SQUARE[0], quarter), atol=1e-2) for quarter in (1, -1))


def test_a_scale_above_one_enlarges_and_moves_away_from_the_center() -> None:
    enlarged = resampled(scale=1.5)
    assert enlarged.sum() == pytest.approx(SQUARE.sum() * 1.5**2, rel=0.1)
    assert offsets(enlarged[np.newaxis])[0] == pytest.approx((1.5 * UP, 1.5 * RIGHT), abs=0.1)


def test_pixels_from_outside_the_image_are_black() -> None:
    white = np.full((20, 28, 28), 255, np.uint8)
    shifted = random_affine(0, 0, 0.5)(white, [0, 0]).numpy()
    assert shifted.min() == 0
    assert shifted.max() == pytest.approx(255, abs=1e-3)


@settings(max_examples=20)
@given(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1))
def test_the_same_seed_repeats_and_each_image_is_changed_differently(a: int, b: int) -> None:
    images = np.repeat(SQUARE, 4, axis=0)
    augment = random_affine(10, 0.1, 0.1)
    first, again = augment(images, [a, b]).numpy(), augment(images, [a, b]).numpy()
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first, augment(images, [a, (b + 1) % 2**31]).numpy())


def test_sizes_stay_within_their_limits_and_use_them() -> None:
    areas = augmented(0, 0.2, 0).sum(axis=(1, 2)) / SQUARE.sum()
    assert 0.7**2 < areas.min() < 0.85**2
    assert 1.15**2 < areas.max() < 1.3**2


def test_angles_stay_within_their_limits_and_use_them() -> None:
    up, right = offsets(augmented(30, 0, 0)).T
    angles = np.degrees(np.arctan2(up, right) - np.arctan2(UP, RIGHT))
    assert -31 < angles.min() < -28
    assert 28 < angles.max() < 31


def test_shifts_stay_within_their_limits_and_use_them() -> None:
    shifts = np.abs(offsets(augmented(0, 0, 0.1)) - (UP, RIGHT))
    assert 1.3 < shifts.max() <= 1.5 + 1e-3  # a tenth of 15 pixels


def test_all_channels_of_a_color_image_move_alike() -> None:
    images = np.random.default_rng(0).integers(0, 255, size=(4, 9, 12, 3), dtype=np.uint8)
    augment = random_affine(20, 0.2, 0.1)
    colored = augment(images, [0, 1]).numpy()
    assert colored.shape == images.shape
    for channel in range(3):
        gray = augment(images[..., channel], [0, 1]).numpy()
        np.testing.assert_allclose(colored[..., channel], gray, atol=1e-4)
