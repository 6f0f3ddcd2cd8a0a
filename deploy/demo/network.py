"""A small classifier of digits; its hidden layer gives the embeddings."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
from deploy.demo.digits import DigitImages, shift_randomly
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from driftgauge.errors import InputError

__all__ = ["MODEL_VERSION", "Network", "train"]

MODEL_VERSION = "digits-mlp-1"

_HIDDEN_UNITS = 32
_SHIFTS_PER_IMAGE = 5
# Training converges after about 170 epochs.
_MAX_EPOCHS = 1_000
_LEARNING_RATE = 0.01


@dataclass(frozen=True, slots=True)
class Network:
    """A classifier of images of 64 pixels, with one hidden layer of 32 units.

    The embedding is that layer before its activation. The activation (ReLU) would clip negative
    values to zero, and hide part of the drift.

    Attributes:
        hidden_weights: (64, 32) float64.
        hidden_biases: (32,) float64.
        output_weights: (32, 10) float64.
        output_biases: (10,) float64.
    """

    hidden_weights: NDArray[np.float64]
    hidden_biases: NDArray[np.float64]
    output_weights: NDArray[np.float64]
    output_biases: NDArray[np.float64]

    @classmethod
    def from_classifier(cls, classifier: MLPClassifier) -> Self:
        """Return the network with the weights of a classifier trained on the digits 0 to 9."""
        (hidden, output), (hidden_biases, output_biases) = classifier.coefs_, classifier.intercepts_
        return cls(hidden, hidden_biases, output, output_biases)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the network that `save` wrote.

        Raises:
            InputError: The file cannot be read, or holds no network.
        """
        try:
            return cls(**load(path.read_bytes()))
        except OSError as error:
            reason = str(error.strerror)
        except (SafetensorError, TypeError) as error:
            reason = f"it holds none: {error}"
        message = f"{path}: cannot read the network ({reason}); `python -m deploy.demo prepare` writes it"
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

    def embed(self, images: DigitImages) -> NDArray[np.float32]:
        """Return the embeddings of n images, (n, 32) float32."""
        flat = images.pixels.reshape(len(images.pixels), -1)
        return np.asarray(flat @ self.hidden_weights + self.hidden_biases, dtype=np.float32)

    def accuracy(self, images: DigitImages) -> float:
        """Return the share of the images that are classified correctly."""
        scores = np.maximum(self.embed(images), 0) @ self.output_weights + self.output_biases
        return float((scores.argmax(axis=1) == images.labels).mean())


def train(images: DigitImages, seed: int) -> Network:
    """Return a network trained on the images, each with several shifts."""
    rows = np.tile(np.arange(len(images.labels)), _SHIFTS_PER_IMAGE)
    shifted = shift_randomly(images, rows, np.random.default_rng(seed))
    classifier = MLPClassifier(
        (_HIDDEN_UNITS,), learning_rate_init=_LEARNING_RATE, max_iter=_MAX_EPOCHS, random_state=seed
    )
    # On matrices this small, threads cost more than they save.
    with threadpool_limits(limits=1):
        classifier.fit(shifted.pixels.reshape(len(rows), -1), shifted.labels)
    return Network.from_classifier(classifier)
