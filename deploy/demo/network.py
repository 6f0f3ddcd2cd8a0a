"""A small network that reads digits; its hidden layer gives the embeddings."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
from deploy.demo.digits import Images, reuse
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from driftgauge.errors import InputError

__all__ = ["MODEL_VERSION", "Network", "train"]

MODEL_VERSION = "digits-mlp-1"

_HIDDEN_UNITS = 32
_REUSES = 5
# Training ends by itself, when the loss no longer falls, after some 170 rounds.
_MOST_ROUNDS = 1_000
_LEARNING_RATE = 0.01


@dataclass(frozen=True, slots=True)
class Network:
    """A classifier of images of 64 pixels, with one hidden layer of 32 units.

    Its embedding is that layer before the activation, as in the published case: the activation
    (ReLU) would cut off everything below zero, and with it part of what moves under drift.

    Attributes:
        hidden_weights: (64, 32) float64.
        hidden_biases: (32,) float64.
        answer_weights: (32, 10) float64.
        answer_biases: (10,) float64.
    """

    hidden_weights: NDArray[np.float64]
    hidden_biases: NDArray[np.float64]
    answer_weights: NDArray[np.float64]
    answer_biases: NDArray[np.float64]

    @classmethod
    def of(cls, classifier: MLPClassifier) -> Self:
        """Take the layers out of a classifier that was trained on the digits 0 to 9."""
        (hidden, answer), (hidden_biases, answer_biases) = classifier.coefs_, classifier.intercepts_
        return cls(hidden, hidden_biases, answer, answer_biases)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            InputError: The file cannot be read, or holds something else.
        """
        try:
            return cls(**load(path.read_bytes()))
        except OSError as error:
            reason = str(error.strerror)
        except (SafetensorError, TypeError) as error:
            reason = f"it does not hold one: {error}"
        message = f"{path}: cannot read the network ({reason}); `driftgauge demo prepare` writes it"
        raise InputError(message)

    def save(self, path: Path) -> None:
        """Write the network to a file.

        Raises:
            InputError: The file cannot be written.
        """
        try:
            path.write_bytes(save(asdict(self)))
        except OSError as error:
            message = f"{path}: cannot write the network: {error.strerror}; name a folder you may write to"
            raise InputError(message) from error

    def embed(self, images: Images) -> NDArray[np.float32]:
        """Return the embeddings of n images, (n, 32) float32."""
        flat = images.pixels.reshape(len(images.pixels), -1)
        return np.asarray(flat @ self.hidden_weights + self.hidden_biases, dtype=np.float32)

    def accuracy(self, images: Images) -> float:
        """Return the share of the images that are read as what they show."""
        answers = np.maximum(self.embed(images), 0) @ self.answer_weights + self.answer_biases
        return float((answers.argmax(axis=1) == images.labels).mean())


def train(images: Images, seed: int) -> Network:
    """Train a network on the images, each in several shifts."""
    rows = np.tile(np.arange(len(images.labels)), _REUSES)
    shifted = reuse(images, rows, np.random.default_rng(seed))
    classifier = MLPClassifier(
        (_HIDDEN_UNITS,), learning_rate_init=_LEARNING_RATE, max_iter=_MOST_ROUNDS, random_state=seed
    )
    # Threads would only wait for each other on matrices this small.
    with threadpool_limits(limits=1):
        classifier.fit(shifted.pixels.reshape(len(rows), -1), shifted.labels)
    return Network.of(classifier)
