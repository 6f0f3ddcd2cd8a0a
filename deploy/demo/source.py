"""The source of the demo's events and baselines."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from deploy.demo.days import DAY_MS, EVENTS_PER_DAY
from deploy.demo.digits import DigitImages, ImageQuality, degrade, shift_randomly, split_digits
from deploy.demo.network import MODEL_VERSION, Network, train

from driftgauge.baseline.artifact import Baseline
from driftgauge.baseline.fitting import Provenance, fit_baseline
from driftgauge.baseline.windows import Traffic

__all__ = ["CLUSTERS", "TrafficSource", "load_source", "train_source"]

CLUSTERS = 10

_SEED = 0
# Enough days to measure the overdispersion, so that results are calibrated.
_SHIFTS_PER_IMAGE = 40


@dataclass(frozen=True, slots=True)
class TrafficSource:
    """A network, images that it was not trained on, and the generator that draws from them."""

    network: Network
    images: DigitImages
    rng: np.random.Generator

    def draw(self, number: int, quality: ImageQuality) -> DigitImages:
        """Return `number` images at a quality, each with its own shift."""
        rows = self.rng.integers(len(self.images.labels), size=number)
        return degrade(shift_randomly(self.images, rows, self.rng), quality)

    def fit(self, stream: str, created_ms: int) -> Baseline:
        """Return a stream's baseline, fitted on days without drift: all images, each with several shifts.

        The digits that the images show name the clusters.
        """
        rows = self.rng.permutation(np.tile(np.arange(len(self.images.labels)), _SHIFTS_PER_IMAGE))
        days = Traffic.of(np.arange(len(rows)) // EVENTS_PER_DAY * DAY_MS, DAY_MS)
        shifted = shift_randomly(self.images, rows, self.rng)
        return fit_baseline(
            self.network.embed(shifted),
            stream=stream,
            model_version=MODEL_VERSION,
            clusters=CLUSTERS,
            seed=_SEED,
            created_ms=created_ms,
            progress=lambda _: None,
            provenance=Provenance(days, labels=[f"digit {digit}" for digit in shifted.labels]),
        )


def train_source() -> TrafficSource:
    """Return a source with a new network; a third of the digits train it, events show the others."""
    split = split_digits(_SEED)
    return TrafficSource(train(split.training, _SEED), split.held_out, np.random.default_rng(_SEED))


def load_source(network: Path) -> TrafficSource:
    """Return a source with a saved network; its draws differ from run to run.

    Raises:
        InputError: The network cannot be read.
    """
    return TrafficSource(Network.load(network), split_digits(_SEED).held_out, np.random.default_rng())
