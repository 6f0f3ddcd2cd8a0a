"""Quality measures of a baseline, and notes on its weaknesses with their remedies."""

import math

import numpy as np

from driftgauge.baseline.artifact import Baseline
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.budget import window_level
from driftgauge.core.statistics.duplicates import DUPLICATES, HASH_COUNTS, DuplicatesNull

__all__ = [
    "MIN_RATIO",
    "notes",
    "overdispersion_reading",
    "stability_reading",
]

MIN_RATIO = 20
"""The least ratio of reference vectors to a window's events. Noise is proportional to 1/n + 1/m, so at this
ratio the reference adds at most a twentieth to the window's noise."""

# A cluster is tiny if a window of 500 events expects fewer than five in it. With 10 to 20 clusters,
# about 500 events are enough to detect a distance of 0.1, and tests on counts need five expected events in
# each cell (W. G. Cochran, Biometrics 10, 1954).
_WINDOW_COUNT = 500
_LEAST_EXPECTED = 5

# The window of the note on repeated items has so many times the events of the baseline: more hardly help.
_MANY = 4
_HOUR_MS = 3_600_000

# Bounds of "good" and "moderate" agreement: D. Steinley, Properties of the Hubert-Arabie adjusted
# Rand index, Psychological Methods 9(3), 2004.
_GOOD = 0.8
_MODERATE = 0.65

# The most clusters that a sentence names.
_MAX_NAMED = 8


def overdispersion_reading(counts: float, means: float) -> str:
    """Return a sentence on the variation of windows, relative to windows of independent events."""
    return (
        f"counts vary {counts:.2f} times as much as those of independent events, means up to "
        f"{means:.2f} times"
    )


def stability_reading(stability: float) -> str:
    """Return the stability with its meaning in words."""
    if stability >= _GOOD:
        meaning = "other seeds find almost the same clusters"
    elif stability >= _MODERATE:
        meaning = "other seeds place some cluster borders differently"
    else:
        meaning = "other seeds find different clusters"
    return f"{stability:.2f} (adjusted Rand index, 1 is the same clusters): {meaning}"


def notes(baseline: Baseline) -> list[str]:
    """Return the weaknesses of a baseline, each with its remedy."""
    metadata, weaknesses = baseline.metadata, []
    if metadata.training_set:
        weaknesses.append(
            "The model was trained on this reference: with enough events, live data may look different "
            "without any drift. Fit on data that the model has not seen."
        )
    if baseline.overdispersion is None:
        weaknesses.append(
            "The overdispersion is not known: p-values are not calibrated for bursts of related events, "
            "which make clean windows look like drift. Fit on events with timestamps from many windows, "
            "each with five events per cluster or more, with fewer --clusters, or name the group of each "
            "vector."
        )
    if baseline.untested:
        weaknesses.append(
            f"The baseline was fitted by an earlier version, without what {', '.join(baseline.untested)} "
            "need: drift of these kinds is not tested. Fit it again."
        )
    if baseline.later:
        weaknesses.append(
            f"A later version fitted the baseline: this one ignores {', '.join(sorted(baseline.later))}, and "
            "does not test what needs them. Update it."
        )
    smallest = _LEAST_EXPECTED * metadata.clusters
    if metadata.reference_count < MIN_RATIO * smallest:
        weaknesses.append(
            f"The baseline is small: it counts {metadata.reference_count:,} vectors. Its noise adds "
            f"{smallest / metadata.reference_count:.0%} to that of a window of {smallest:,} events, and more "
            f"to that of larger ones: `driftgauge plan --baseline` shows what windows find. Clean windows of "
            f"an unlucky baseline are found several times as often as the level says, because all share its "
            f"error. Fit on {2 * MIN_RATIO * smallest:,} vectors or more, half of which are counted."
        )
    weaknesses += _cost_of_repetition(baseline)
    expected = baseline.counts / baseline.counts.sum() * _WINDOW_COUNT
    tiny = np.flatnonzero(expected < _LEAST_EXPECTED).tolist()
    if tiny:
        listed = ", ".join(map(str, tiny[:_MAX_NAMED])) + (", …" if len(tiny) > _MAX_NAMED else "")
        weaknesses.append(
            f"{len(tiny)} of the clusters are tiny ({listed}): a window of {_WINDOW_COUNT} events expects "
            f"fewer than {_LEAST_EXPECTED} in each, which adds noise and detects little drift. Fit fewer "
            f"clusters."
        )
    if metadata.stability is not None and metadata.stability < _MODERATE:
        weaknesses.append(
            "The clusters depend on the seed: drift is detected, but the clusters that moved mean little, "
            "and a baseline fitted again will have different clusters. Fewer clusters may be more stable."
        )
    return weaknesses


def _cost_of_repetition(baseline: Baseline) -> list[str]:
    """Return the note on a baseline by which windows of any length see only many repetitions."""
    if HASH_COUNTS not in baseline.arrays:
        return []
    level = window_level(1.0, [_HOUR_MS]) * DUPLICATES.weights[0] / registry.total_weight()
    least = DuplicatesNull(baseline.arrays[HASH_COUNTS], 1.0, math.inf).least(
        _MANY * baseline.metadata.reference_count, level
    )
    if least <= DUPLICATES.smallest:
        return []
    return [
        "Its items repeat, as those of a small catalogue, or they are few: at a page a year of hourly "
        f"windows, windows of any length see one repeated item only from {least:.1%} of the events on. Set "
        "smallest_drift.duplicates above that; otherwise the stream stays insufficient."
    ]
