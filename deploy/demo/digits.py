"""The handwritten digits of scikit-learn, split, shifted and degraded.

There are only 1,797 images, so each is used many times, with random shifts of up to half a pixel in
both directions. The images of the network and of the baseline are shifted in the same way;
otherwise the shifts alone would look like drift.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

__all__ = ["DigitImages", "DigitSplit", "ImageQuality", "degrade", "shift_randomly", "split_digits"]

_SIDE = 8
_BRIGHTEST = 16.0
_LARGEST_SHIFT = 0.5

# Chosen so that from week to week accuracy falls (measured: 95 %, 62 %, 27 %) and divergence rises
# (0.002, 0.13, 0.56).
_BLUR_RADIUS = 1.2
_BRIGHTNESS = 0.1


class ImageQuality(StrEnum):
    """How the simulated camera degrades the images."""

    CLEAN = "clean"
    BLURRED = "blurred"
    DARKENED = "darkened"


@dataclass(frozen=True, slots=True)
class DigitImages:
    """Images and their labels.

    Attributes:
        pixels: (n, 8, 8) float64, 0 is black, 1 is white.
        labels: (n,) int64, the digits shown.
    """

    pixels: NDArray[np.float64]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DigitSplit:
    """The digits in three disjoint parts of 599 images, stratified by digit.

    The baseline must not be fitted on the training images: a network embeds images that it has seen
    differently, so unseen images alone would look like drift.

    Attributes:
        training: The images that train the network.
        reference: The images that the baseline is fitted on.
        traffic: The images that events are drawn from.
    """

    training: DigitImages
    reference: DigitImages
    traffic: DigitImages

    @property
    def held_out(self) -> DigitImages:
        """The images that the network has not seen: `reference` and `traffic`.

        The two halves are so small that their difference is drift. To show none, draw baseline and
        traffic from both.
        """
        return DigitImages(
            np.concatenate([self.reference.pixels, self.traffic.pixels]),
            np.concatenate([self.reference.labels, self.traffic.labels]),
        )


def split_digits(seed: int) -> DigitSplit:
    """Return the digits, split at random by `seed`."""
    digits = load_digits()
    shuffled = np.random.default_rng(seed).permutation(len(digits.target))
    by_label = shuffled[np.argsort(digits.target[shuffled], kind="stable")]
    training, reference, traffic = (
        DigitImages(digits.images[rows] / _BRIGHTEST, digits.target[rows].astype(np.int64))
        for rows in (by_label[part::3] for part in range(3))
    )
    return DigitSplit(training, reference, traffic)


def shift_randomly(images: DigitImages, rows: NDArray[np.intp], rng: np.random.Generator) -> DigitImages:
    """Return the images at (n,) `rows`, each with its own random shift; the border is filled with black."""
    down, right = rng.uniform(-_LARGEST_SHIFT, _LARGEST_SHIFT, size=(2, len(rows)))
    shifted = _shift_matrices(down) @ images.pixels[rows] @ _shift_matrices(right).transpose(0, 2, 1)
    return DigitImages(shifted, images.labels[rows])


def degrade(images: DigitImages, quality: ImageQuality) -> DigitImages:
    """Return the images at a quality."""
    match quality:
        case ImageQuality.CLEAN:
            return images
        case ImageQuality.BLURRED:
            matrix = _blur_matrix()
            return DigitImages(matrix @ images.pixels @ matrix.T, images.labels)
        case ImageQuality.DARKENED:
            return DigitImages(images.pixels * _BRIGHTNESS, images.labels)


def _shift_matrices(shifts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, 8, 8) matrices that shift columns by (n,) pixels, with linear interpolation."""
    distance = np.subtract.outer(np.arange(_SIDE), np.arange(_SIDE)) - shifts[:, None, None]
    return np.maximum(0.0, 1.0 - np.abs(distance))


def _blur_matrix() -> NDArray[np.float64]:
    """Return the (8, 8) matrix that blurs columns by a Gaussian; light that leaves the image is lost."""
    reach = np.arange(-_SIDE, _SIDE + 1)
    total = np.exp(-np.square(reach / _BLUR_RADIUS) / 2).sum()
    distance = np.subtract.outer(np.arange(_SIDE), np.arange(_SIDE))
    matrix: NDArray[np.float64] = np.exp(-np.square(distance / _BLUR_RADIUS) / 2) / total
    return matrix
