"""What the demo's events are made of, and the baseline that they are held against."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from deploy.demo.digits import Condition, Images, expose, reuse, split_digits
from deploy.demo.network import MODEL_VERSION, Network, train

from driftgauge.baseline.artifact import Baseline
from driftgauge.baseline.fitting import fit_baseline

__all__ = ["CLUSTERS", "Source", "load_source", "train_source"]

CLUSTERS = 10

_SEED = 0
_REFERENCE_REUSES = 20


@dataclass(frozen=True, slots=True)
class Source:
    """A network, images that it was not trained on, and the chance that draws from them."""

    network: Network
    images: Images
    rng: np.random.Generator

    def draw(self, number: int, condition: Condition) -> Images:
        """Return so many images under a condition, each in a shift of its own."""
        rows = self.rng.integers(len(self.images.labels), size=number)
        return expose(reuse(self.images, rows, self.rng), condition)

    def fit(self, stream: str, created_ms: int) -> Baseline:
        """Fit a stream's baseline on all of the images, each many times."""
        rows = np.tile(np.arange(len(self.images.labels)), _REFERENCE_REUSES)
        return fit_baseline(
            self.network.embed(reuse(self.images, rows, self.rng)),
            stream=stream,
            model_version=MODEL_VERSION,
            clusters=CLUSTERS,
            seed=_SEED,
            created_ms=created_ms,
            progress=lambda _: None,
        )


def train_source() -> Source:
    """Train the network on a third of the digits; all others are what events show."""
    split = split_digits(_SEED)
    return Source(train(split.training, _SEED), split.held_out, np.random.default_rng(_SEED))


def load_source(network: Path) -> Source:
    """Take a network that was trained before; what is drawn is new each time.

    Raises:
        InputError: The network cannot be read.
    """
    return Source(Network.load(network), split_digits(_SEED).held_out, np.random.default_rng())
