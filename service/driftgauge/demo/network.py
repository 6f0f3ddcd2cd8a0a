"""A small network that reads digits; its hidden layer gives the embeddings."""

import numpy as np
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from driftgauge.demo.digits import Images, reuse

__all__ = ["MODEL_VERSION", "Network", "train"]

MODEL_VERSION = "digits-mlp-1"

_HIDDEN_UNITS = 32
_REUSES = 5
# Training ends by itself, when the loss no longer falls, after some 170 rounds.
_MOST_ROUNDS = 1_000
_LEARNING_RATE = 0.01


class Network:
    """A classifier with one hidden layer of 32 units.

    Its embedding is that layer before the activation, as in the published case: the activation
    (ReLU) would cut off everything below zero, and with it part of what moves under drift.
    """

    def __init__(self, classifier: MLPClassifier) -> None:
        self._classifier = classifier

    def embed(self, images: Images) -> NDArray[np.float32]:
        """Return the embeddings of n images, (n, 32) float32."""
        hidden = _flat(images) @ self._classifier.coefs_[0] + self._classifier.intercepts_[0]
        return np.asarray(hidden, dtype=np.float32)

    def accuracy(self, images: Images) -> float:
        """Return the share of the images that are read as what they show."""
        return float((self._classifier.predict(_flat(images)) == images.labels).mean())


def train(images: Images, seed: int) -> Network:
    """Train a network on the images, each in several shifts."""
    rows = np.tile(np.arange(len(images.labels)), _REUSES)
    shifted = reuse(images, rows, np.random.default_rng(seed))
    classifier = MLPClassifier(
        (_HIDDEN_UNITS,), learning_rate_init=_LEARNING_RATE, max_iter=_MOST_ROUNDS, random_state=seed
    )
    # Threads would only wait for each other on matrices this small.
    with threadpool_limits(limits=1):
        classifier.fit(_flat(shifted), shifted.labels)
    return Network(classifier)


def _flat(images: Images) -> NDArray[np.float64]:
    return images.pixels.reshape(len(images.pixels), -1)
