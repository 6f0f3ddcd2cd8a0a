"""What is known of a closed window: its counts, and its score against the baseline."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.divergence import js_contributions
from driftgauge.core.significance import noise_floor
from driftgauge.core.state import Partition, Published
from driftgauge.core.window import Window

__all__ = ["Score", "WindowResult", "score"]


@dataclass(frozen=True, slots=True)
class Score:
    """A window's divergence from the baseline.

    Attributes:
        js_divergence: Jensen-Shannon divergence, base 2, 0 to 1.
        js_distance: Its square root.
        contributions: (k,) float64, each cluster's part; they sum to the divergence.
        noise_floor: The divergence to expect at this count without any drift.
    """

    js_divergence: float
    js_distance: float
    contributions: NDArray[np.float64]
    noise_floor: float


@dataclass(frozen=True, slots=True, eq=False)
class WindowResult:
    """A closed window, as it is published and shown.

    Attributes:
        stream: The stream's name.
        window: Which window.
        revision: 0 at the first publication; one more each time that later events changed it.
        counts: (k,) int64, the window's events per cluster.
        baseline_counts: (k,) int64, the baseline's histogram.
        baseline_id: The baseline's identity.
        missing: The partitions that had not passed the window's end; complete where there is none.
        events_lost: Some of its events may have been lost before they were read.
        published_ms: Wall time of this revision.
        score: The divergence; None where there were too few events to judge.
    """

    stream: str
    window: Window
    revision: int
    counts: NDArray[np.int64]
    baseline_counts: NDArray[np.int64]
    baseline_id: str
    missing: tuple[Partition, ...]
    events_lost: bool
    published_ms: int
    score: Score | None

    @classmethod
    def of(cls, stream: str, window: Window, published: Published) -> "WindowResult":
        """Return the result of what was published: the same on every replica, now and later."""
        counts, baseline_counts = published.counts, published.baseline_counts
        return cls(
            stream=stream,
            window=window,
            revision=published.revision,
            counts=counts,
            baseline_counts=baseline_counts,
            baseline_id=published.baseline_id,
            missing=published.missing,
            events_lost=published.events_lost,
            published_ms=published.published_ms,
            score=score(counts, baseline_counts) if published.scored else None,
        )

    @property
    def count(self) -> int:
        """The window's events."""
        return int(self.counts.sum())


def score(counts: NDArray[np.int64], baseline_counts: NDArray[np.int64]) -> Score:
    """Compare a window's histogram (k,) with the baseline's (k,); neither may be empty."""
    contributions = js_contributions(counts, baseline_counts)
    # fsum: the same sum whatever the order of the clusters. Rounding must not carry it above 1.
    divergence = min(math.fsum(contributions), 1.0)
    return Score(
        js_divergence=divergence,
        js_distance=math.sqrt(divergence),
        contributions=contributions,
        noise_floor=noise_floor(len(counts), int(counts.sum()), int(baseline_counts.sum())),
    )
