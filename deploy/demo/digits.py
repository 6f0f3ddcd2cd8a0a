"""scikit-learn's handwritten digits: real images that ship with it, and what may befall them.

There are only 1,797, so every one is used again and again, each time shifted by up to half a pixel
in both directions; the network's and the baseline's images are shifted in the same way, or else
the shifts alone would look like drift.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

__all__ = ["Condition", "Images", "Split", "expose", "reuse", "split_digits"]

_SIDE = 8
_BRIGHTEST = 16.0
_LARGEST_SHIFT = 0.5

# Chosen so that accuracy falls in both weeks (measured: 95 %, 62 %, 27 %) and divergence rises
# from each to the next (0.002, 0.13, 0.56).
_BLUR_RADIUS = 1.2
_BRIGHTNESS = 0.1


class Condition(StrEnum):
    """What the camera does to the images."""

    CLEAN = "clean"
    BLURRED = "blurred"
    DARKENED = "darkened"


@dataclass(frozen=True, slots=True)
class Images:
    """Images with what they show.

    Attributes:
        pixels: (n, 8, 8) float64, 0 is black, 1 is white.
        labels: (n,) int64, the digits shown.
    """

    pixels: NDArray[np.float64]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Split:
    """The digits in three disjoint parts of 599 images, each with its share of every digit.

    The baseline must not be fitted on what the network was trained on: a network answers images
    it has seen in its own way, and images that are only new to it would look like drift.

    Attributes:
        training: What the network is trained on.
        reference: What the baseline is fitted on.
        traffic: What the events show.
    """

    training: Images
    reference: Images
    traffic: Images

    @property
    def held_out(self) -> Images:
        """All that the network has not seen.

        Two halves of so few images differ by more than what is worth finding in a stream; that would be
        drift, and rightly so. Where none is to be found, both are drawn from all of them.
        """
        return Images(
            np.concatenate([self.reference.pixels, self.traffic.pixels]),
            np.concatenate([self.reference.labels, self.traffic.labels]),
        )


def split_digits(seed: int) -> Split:
    """Load the digits and split them at random."""
    digits = load_digits()
    shuffled = np.random.default_rng(seed).permutation(len(digits.target))
    by_label = shuffled[np.argsort(digits.target[shuffled], kind="stable")]
    training, reference, traffic = (
        Images(digits.images[rows] / _BRIGHTEST, digits.target[rows].astype(np.int64))
        for rows in (by_label[part::3] for part in range(3))
    )
    return Split(training, reference, traffic)


def reuse(images: Images, rows: NDArray[np.intp], rng: np.random.Generator) -> Images:
    """Return the images in (n,) `rows`, each shifted at random; black moves in from outside."""
    down, right = rng.uniform(-_LARGEST_SHIFT, _LARGEST_SHIFT, size=(2, len(rows)))
    shifted = _shift_matrices(down) @ images.pixels[rows] @ _shift_matrices(right).transpose(0, 2, 1)
    return Images(shifted, images.labels[rows])


def expose(images: Images, condition: Condition) -> Images:
    """Return the images as they come under a condition."""
    match condition:
        case Condition.CLEAN:
            return images
        case Condition.BLURRED:
            matrix = _blur_matrix()
            return Images(matrix @ images.pixels @ matrix.T, images.labels)
        case Condition.DARKENED:
            return Images(images.pixels * _BRIGHTNESS, images.labels)


def _shift_matrices(shifts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, 8, 8) matrices, each of which shifts columns by (n,) pixels, interpolating linearly."""
    distance = np.subtract.outer(np.arange(_SIDE), np.arange(_SIDE)) - shifts[:, None, None]
    return np.maximum(0.0, 1.0 - np.abs(distance))


def _blur_matrix() -> NDArray[np.float64]:
    """Return the (8, 8) matrix that blurs columns by a Gaussian; light spreads out of the image, too."""
    reach = np.arange(-_SIDE, _SIDE + 1)
    total = np.exp(-np.square(reach / _BLUR_RADIUS) / 2).sum()
    distance = np.subtract.outer(np.arange(_SIDE), np.arange(_SIDE))
    matrix: NDArray[np.float64] = np.exp(-np.square(distance / _BLUR_RADIUS) / 2) / total
    return matrix
