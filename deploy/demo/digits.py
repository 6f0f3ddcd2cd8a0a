"""The demo's images and embeddings: scikit-learn's handwritten digits, degraded, through a small network.

There are only 1,797 images, so each is used many times, with random shifts of up to half a pixel in
both directions. The images of the network and of the baseline are shifted in the same way;
otherwise the shifts alone would look like drift.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from deploy.demo.pictures import event_ids
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from driftgauge.baseline.artifact import Baseline
from driftgauge.baseline.fitting import Provenance, fit_baseline
from driftgauge.baseline.windows import Traffic
from driftgauge.core.counting.numbers import Number

__all__ = [
    "CLUSTERS",
    "DAY_MS",
    "EVENTS_PER_DAY",
    "MODEL_VERSION",
    "DigitImages",
    "ImageQuality",
    "TrafficSource",
    "train_source",
]

CLUSTERS = 10
DAY_MS = 86_400_000
EVENTS_PER_DAY = 1_000
MODEL_VERSION = "digits-mlp-1"

_SEED = 0
_SIDE = 8
_BRIGHTEST = 16.0
_LARGEST_SHIFT = 0.5
# Chosen so that from week to week accuracy falls (measured: 95 %, 61 %, 27 %) and divergence rises
# (0.001, 0.11, 0.56).
_BLUR_RADIUS = 1.2
_BRIGHTNESS = 0.1
_HIDDEN_UNITS = 32
_TRAINING_SHIFTS = 5
# Enough days to measure the overdispersion, so that results are calibrated.
_BASELINE_SHIFTS = 40
# Training converges after about 170 epochs.
_MAX_EPOCHS = 1_000
_LEARNING_RATE = 0.01


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

    @property
    def flat(self) -> NDArray[np.float64]:
        """The pixels as (n, 64)."""
        return self.pixels.reshape(len(self.pixels), -1)

    def shifted(self, rows: NDArray[np.intp], rng: np.random.Generator) -> "DigitImages":
        """Return the images at (n,) `rows`, each with its own shift; the border is filled with black."""
        down, right = rng.uniform(-_LARGEST_SHIFT, _LARGEST_SHIFT, size=(2, len(rows)))
        moved = _shift_matrices(down) @ self.pixels[rows] @ _shift_matrices(right).transpose(0, 2, 1)
        return DigitImages(moved, self.labels[rows])

    def degraded(self, quality: ImageQuality) -> "DigitImages":
        """Return the images at a quality."""
        match quality:
            case ImageQuality.CLEAN:
                return self
            case ImageQuality.BLURRED:
                matrix = _blur_matrix()
                return DigitImages(matrix @ self.pixels @ matrix.T, self.labels)
            case ImageQuality.DARKENED:
                return DigitImages(self.pixels * _BRIGHTNESS, self.labels)


@dataclass(frozen=True, slots=True)
class TrafficSource:
    """A network of one hidden layer, images that it was not trained on, and what draws from them."""

    network: MLPClassifier
    images: DigitImages
    rng: np.random.Generator

    def draw(self, number: int, quality: ImageQuality) -> DigitImages:
        """Return `number` images at a quality, each with its own shift."""
        rows = self.rng.integers(len(self.images.labels), size=number)
        return self.images.shifted(rows, self.rng).degraded(quality)

    def embed(self, images: DigitImages) -> NDArray[np.float32]:
        """Return the embeddings of n images, (n, 32) float32.

        They are the hidden layer before its activation (ReLU), which would clip negative values to zero and
        hide part of the drift.
        """
        return np.asarray(
            images.flat @ self.network.coefs_[0] + self.network.intercepts_[0], dtype=np.float32
        )

    def numbers(self, images: DigitImages) -> dict[str, NDArray[np.float64]]:
        """Return the network's confidence in n images, and whether each is classified correctly, (n,)."""
        probabilities = self.network.predict_proba(images.flat)
        found = self.network.classes_[probabilities.argmax(axis=1)]
        return {
            "confidence": probabilities.max(axis=1),
            "correct": (found == images.labels).astype(np.float64),
        }

    def fit(self, stream: str, created_ms: int) -> Baseline:
        """Return a stream's baseline, fitted on days without drift: all images, each with several shifts.

        The digits that the images show name the clusters.
        """
        rows = self.rng.permutation(np.tile(np.arange(len(self.images.labels)), _BASELINE_SHIFTS))
        days = Traffic.of(np.arange(len(rows)) // EVENTS_PER_DAY * DAY_MS, DAY_MS)
        shifted = self.images.shifted(rows, self.rng)
        return fit_baseline(
            self.embed(shifted),
            stream=stream,
            model_version=MODEL_VERSION,
            clusters=CLUSTERS,
            seed=_SEED,
            created_ms=created_ms,
            progress=lambda _: None,
            provenance=Provenance(
                days,
                labels=[f"digit {digit}" for digit in shifted.labels],
                event_ids=event_ids(shifted.pixels),
                numbers={Number(name, 0.0, 1.0): values for name, values in self.numbers(shifted).items()},
            ),
        )


def train_source() -> TrafficSource:
    """Return a source with a new network; network and draws are the same each time.

    A third of the digits train the network, and events and baseline show the others: a network embeds images
    that it has seen differently, so unseen images alone would look like drift.
    """
    digits = load_digits()
    shuffled = np.random.default_rng(_SEED).permutation(len(digits.target))
    by_label = shuffled[np.argsort(digits.target[shuffled], kind="stable")]
    training, held_out = (
        DigitImages(digits.images[rows] / _BRIGHTEST, digits.target[rows].astype(np.int64))
        for rows in (by_label[::3], np.concatenate([by_label[1::3], by_label[2::3]]))
    )
    rows = np.tile(np.arange(len(training.labels)), _TRAINING_SHIFTS)
    shifted = training.shifted(rows, np.random.default_rng(_SEED))
    network = MLPClassifier(
        (_HIDDEN_UNITS,), learning_rate_init=_LEARNING_RATE, max_iter=_MAX_EPOCHS, random_state=_SEED
    )
    # On matrices this small, threads cost more than they save.
    with threadpool_limits(limits=1):
        network.fit(shifted.flat, shifted.labels)
    return TrafficSource(network, held_out, np.random.default_rng(_SEED))


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
