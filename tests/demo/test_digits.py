"""Tests of `deploy.demo.digits`."""

import numpy as np
import pytest
from deploy.demo.digits import DigitImages, ImageQuality, degrade, shift_randomly, split_digits
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders.days import EVERY, PARTS
from tests.examples import examples

SIDE = 8


def one_pixel(row=4, column=4, brightness=1.0):
    pixels = np.zeros((1, SIDE, SIDE))
    pixels[0, row, column] = brightness
    return DigitImages(pixels, np.array([7]))


def centre(images):
    """Return where the light of each image is centred: (n,) rows and columns."""
    total = images.pixels.sum(axis=(1, 2))
    positions = np.arange(SIDE)
    return images.pixels.sum(axis=2) @ positions / total, images.pixels.sum(axis=1) @ positions / total


def test_split_depends_on_seed_only(split):
    same, other = split_digits(0), split_digits(1)
    for part in PARTS:
        assert getattr(split, part).pixels.tobytes() == getattr(same, part).pixels.tobytes()
        assert getattr(split, part).labels.tobytes() == getattr(same, part).labels.tobytes()
        assert getattr(split, part).pixels.tobytes() != getattr(other, part).pixels.tobytes()


def test_split_parts_have_equal_size_and_digit_shares(split):
    shares = [np.bincount(getattr(split, part).labels) for part in PARTS]
    assert [share.sum() for share in shares] == [599, 599, 599]
    assert all(len(share) == 10 for share in shares)
    assert np.ptp(shares, axis=0).max() <= 1


def test_split_parts_share_no_image(split):
    whole = [image.tobytes() for part in PARTS for image in getattr(split, part).pixels]
    assert len(whole) == 1_797
    assert len(set(whole)) == len(whole)


def test_pixels_range_from_0_to_1(split):
    pixels = np.concatenate([getattr(split, part).pixels for part in PARTS])
    assert pixels.dtype == np.float64
    assert (pixels.min(), pixels.max()) == (0, 1)


def test_repeated_images_keep_labels(split):
    rows = np.array([5, 5, 0, 598])
    again = shift_randomly(split.traffic, rows, np.random.default_rng(0))
    assert again.labels.tolist() == split.traffic.labels[rows].tolist()
    assert not np.array_equal(again.pixels[0], again.pixels[1]), "each time with another shift"


def test_shifts_depend_on_generator_only(split):
    rows = np.arange(20)
    one, same = (shift_randomly(split.traffic, rows, np.random.default_rng(3)) for _ in range(2))
    assert one.pixels.tobytes() == same.pixels.tobytes()


@given(st.integers(0, 2**32))
def test_shift_is_at_most_half_a_pixel_per_axis(seed):
    shifted = shift_randomly(one_pixel(), np.zeros(50, np.intp), np.random.default_rng(seed))
    for centres in centre(shifted):
        assert np.abs(centres - 4).max() <= 0.5 + 1e-9
    assert shifted.pixels.sum(axis=(1, 2)) == pytest.approx(np.ones(50)), "no light is lost inside"


def test_shifts_cover_half_a_pixel_on_every_side():
    shifted = shift_randomly(one_pixel(), np.zeros(2_000, np.intp), np.random.default_rng(0))
    for centres in centre(shifted):
        assert centres.min() < 3.51
        assert centres.max() > 4.49
        assert centres.mean() == pytest.approx(4, abs=0.03)


@settings(max_examples=examples(25))
@given(st.integers(0, 2**32))
def test_shift_keeps_brightness_in_range(seed):
    shifted = shift_randomly(EVERY, np.arange(len(EVERY.labels)), np.random.default_rng(seed))
    assert shifted.pixels.min() >= 0
    assert shifted.pixels.max() <= 1 + 1e-12


def test_shift_fills_border_with_black():
    white = DigitImages(np.ones((1, SIDE, SIDE)), np.array([0]))
    shifted = shift_randomly(white, np.zeros(10, np.intp), np.random.default_rng(0)).pixels
    assert np.allclose(shifted[:, 1:-1, 1:-1], 1)
    assert (shifted.min(axis=(1, 2)) < 1).all()


def test_clean_quality_returns_same_images():
    assert degrade(EVERY, ImageQuality.CLEAN) is EVERY


def test_darkened_quality_keeps_a_tenth_of_brightness():
    dark = degrade(EVERY, ImageQuality.DARKENED)
    assert np.array_equal(dark.pixels, EVERY.pixels * 0.1)
    assert np.array_equal(dark.labels, EVERY.labels)


def test_blur_of_point_is_gaussian():
    blurred = degrade(one_pixel(), ImageQuality.BLURRED).pixels[0]
    # 1.2 pixels, see the module; the ratio to the peak tells it without a constant of proportion.
    peak = blurred[4, 4]
    for down, right in [(0, 1), (1, 0), (1, 1), (2, 0), (-1, 0), (0, -2)]:
        expected = np.exp(-(down**2 + right**2) / (2 * 1.2**2))
        assert blurred[4 + down, 4 + right] / peak == pytest.approx(expected)


def test_blur_loses_brightness_at_border_only():
    blurred = degrade(EVERY, ImageQuality.BLURRED)
    light, before = blurred.pixels.sum(axis=(1, 2)), EVERY.pixels.sum(axis=(1, 2))
    assert (light < before).all()
    assert (light > 0.8 * before).all()
    assert blurred.pixels.min() >= 0
    assert blurred.pixels.max() <= 1
    assert np.array_equal(blurred.labels, EVERY.labels)


def test_blur_reduces_contrast():
    blurred = degrade(EVERY, ImageQuality.BLURRED)
    assert (blurred.pixels.std(axis=(1, 2)) < 0.8 * EVERY.pixels.std(axis=(1, 2))).all()
