"""The same random changes of images in every framework."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from trackml.backends import tf
from trackml.training import keras_images, numpy_images, torch_images
from trackml.training.augmentation import Augmentation, Changes, affine_maps, draw
from trackml.training.checkpoint import Array

SQUARE = np.zeros((1, 15, 15), np.uint8)
SQUARE[0, 3:6, 7:10] = 200  # 3 above the center of the image, and 1 to the right
UP, RIGHT = 3, 1


def resampled(
    angle: float = 0, scale: float = 1, right: float = 0, down: float = 0, side: int = 1
) -> Array:
    amounts = [np.array([value]) for value in (angle, scale, right, down, side)]
    changed: Array = numpy_images.change(SQUARE, Changes(affine_maps((15, 15), *amounts)))[0]
    return changed


def offsets(images: Array) -> Array:
    """(up, right) of each image's center of mass from the center of the image, pixels: (N, 2)."""
    positions = np.moveaxis(np.indices(images.shape[1:]), 0, -1) - 7  # (15, 15, 2): down, right
    masses = images / images.sum(axis=(1, 2), keepdims=True)
    shifts: Array = np.tensordot(masses, positions, axes=2) * (-1, 1)
    return shifts


def augmented(images: Array = SQUARE, seed: int = 0, **values: Any) -> Array:
    changes = draw(Augmentation(**values), 500, images.shape[1:], np.random.default_rng(seed))
    return numpy_images.change(np.repeat(images, 500, axis=0), changes)


def test_without_changes_images_stay_the_same() -> None:
    np.testing.assert_allclose(resampled(), SQUARE[0])
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    changes = draw(Augmentation(), 5, (28, 28), np.random.default_rng(0))
    np.testing.assert_array_equal(numpy_images.change(images, changes), images)


def test_a_shift_moves_right_and_down() -> None:
    np.testing.assert_allclose(resampled(right=2, down=3), np.roll(SQUARE[0], (3, 2), (0, 1)))


def test_a_quarter_turn_is_about_the_center() -> None:
    turned = resampled(angle=np.pi / 2)
    assert any(np.allclose(turned, np.rot90(SQUARE[0], quarter), atol=1e-2) for quarter in (1, -1))


def test_an_image_is_mirrored_left_to_right_before_it_moves() -> None:
    np.testing.assert_array_equal(resampled(side=-1), SQUARE[0, :, ::-1])
    np.testing.assert_array_equal(
        resampled(side=-1, right=2), np.roll(SQUARE[0, :, ::-1], 2, axis=1)
    )


def test_a_scale_above_one_enlarges_and_moves_away_from_the_center() -> None:
    enlarged = resampled(scale=1.5)
    assert enlarged.sum() == pytest.approx(SQUARE.sum() * 1.5**2, rel=0.1)
    assert offsets(enlarged[np.newaxis])[0] == pytest.approx((1.5 * UP, 1.5 * RIGHT), abs=0.1)


def test_pixels_from_outside_the_image_are_black() -> None:
    shifted = augmented(np.full((1, 28, 28), 255, np.uint8), shift=0.5)
    assert shifted.min() == 0
    assert shifted.max() == pytest.approx(255, abs=1e-3)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**31 - 1))
def test_the_same_seed_repeats_and_each_image_is_changed_differently(seed: int) -> None:
    values: dict[str, Any] = {"rotation": 10, "zoom": 0.1, "shift": 0.1}
    first = augmented(seed=seed, **values)
    np.testing.assert_array_equal(first, augmented(seed=seed, **values))
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first, augmented(seed=seed + 1, **values))


def test_sizes_stay_within_their_limits_and_use_them() -> None:
    areas = augmented(zoom=0.2).sum(axis=(1, 2)) / SQUARE.sum()
    assert 0.7**2 < areas.min() < 0.85**2
    assert 1.15**2 < areas.max() < 1.3**2


def test_angles_stay_within_their_limits_and_use_them() -> None:
    up, right = offsets(augmented(rotation=30)).T
    angles = np.degrees(np.arctan2(up, right) - np.arctan2(UP, RIGHT))
    assert -31 < angles.min() < -28
    assert 28 < angles.max() < 31


def test_shifts_stay_within_their_limits_and_use_them() -> None:
    shifts = np.abs(offsets(augmented(shift=0.1)) - (UP, RIGHT))
    assert 1.3 < shifts.max() <= 1.5 + 1e-3  # a tenth of 15 pixels


def test_a_shift_by_padding_is_of_whole_pixels() -> None:
    images = augmented(pad=2)
    assert set(np.unique(images)) == {0, 200}
    up, right = (offsets(images) - (UP, RIGHT)).round(3).T
    assert set(up) == set(right) == {-2, -1, 0, 1, 2}


def test_half_of_the_images_are_mirrored() -> None:
    mirrored = (augmented(mirror=True) == SQUARE[:, :, ::-1]).all(axis=(1, 2))
    assert 200 < mirrored.sum() < 300


def test_a_rectangle_is_erased_anywhere_up_to_its_largest_side() -> None:
    erased = augmented(np.full((1, 20, 30), 9, np.uint8), erase=0.5) == 0
    assert (erased.any(axis=2).sum(axis=1).max(), erased.any(axis=1).sum(axis=1).max()) == (10, 15)
    assert erased.any(axis=0).all()
    boxes = erased.any(axis=2).sum(axis=1) * erased.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(erased.sum(axis=(1, 2)), boxes)  # nothing else


def test_a_mixture_has_most_of_its_own_image() -> None:
    images = np.eye(8, dtype=np.uint8).reshape(8, 2, 4) * 100
    shares = draw(Augmentation(mixup=0.4), 8, (2, 4), np.random.default_rng(0)).shares
    mixed = numpy_images.change(images, Changes(shares=shares)).reshape(8, 8)
    np.testing.assert_allclose(np.diag(mixed), 100 * shares)
    np.testing.assert_allclose(np.diag(mixed[:, ::-1]), 100 * (1 - shares), rtol=1e-5)
    assert 0.5 <= shares.min() < shares.max() <= 1


@settings(max_examples=20)
@given(
    st.builds(
        Augmentation,
        rotation=st.sampled_from([0.0, 40.0]),
        zoom=st.sampled_from([0.0, 0.3]),
        shift=st.sampled_from([0.0, 0.2]),
        mirror=st.booleans(),
        pad=st.sampled_from([0, 3]),
        erase=st.sampled_from([0.0, 0.6]),
        mixup=st.sampled_from([0.0, 0.5]),
    ),
    st.sampled_from([(9, 12), (9, 12, 3), (1, 5)]),
    st.integers(0, 100),
)
def test_all_frameworks_change_images_alike(
    augmentation: Augmentation, shape: tuple[int, ...], seed: int
) -> None:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (4, *shape), dtype=np.uint8)
    changes = draw(augmentation, 4, shape, random)
    in_numpy = numpy_images.change(images, changes)
    in_torch = torch_images.change(
        torch.tensor(images), torch_images.on_device(changes, shape, "cpu")
    )
    in_keras = keras_images.change(tf.constant(images), keras_images.as_tensors(changes))
    np.testing.assert_allclose(in_torch.numpy(), in_numpy, atol=2e-2)
    np.testing.assert_allclose(in_keras.numpy(), in_numpy, atol=2e-2)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rotation": 181}, "rotation must be at least 0 and at most 180. Received: 181"),
        ({"zoom": 1}, "zoom must be at least 0 and below 1. Received: 1"),
        ({"shift": -0.1}, "shift must be at least 0 and at most 1. Received: -0.1"),
        ({"pad": 1.5}, "pad must be a number of whole pixels. Received: 1.5"),
        ({"mixup": float("nan")}, "mixup must be at least 0 and finite. Received: nan"),
    ],
)
def test_a_wrong_value_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Augmentation(**values)
