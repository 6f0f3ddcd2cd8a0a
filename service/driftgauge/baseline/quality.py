"""What is good and what is weak about a baseline, in plain sentences."""

import numpy as np

from driftgauge.baseline.artifact import Baseline
from driftgauge.core.statistics.overdispersion import Overdispersion

__all__ = [
    "MIN_RATIO",
    "largest_inflation",
    "largest_window",
    "notes",
    "overdispersion_reading",
    "stability_reading",
    "tiny_clusters",
]

MIN_RATIO = 20
"""How many times a window's events a reference should count. Noise goes with 1/n + 1/m, so from here on
the reference's part is at most a twentieth of the window's."""

# A cluster is tiny where a window of 500 events expects fewer than five in it: with 10 to 20 clusters
# about so many events let a distance of 0.1 be found, so these are windows that are judged, and five
# is what tests on counts ask of a cell (W. G. Cochran, Biometrics 10, 1954).
_WINDOW_COUNT = 500
_LEAST_EXPECTED = 5
_TINY_SHARE = _LEAST_EXPECTED / _WINDOW_COUNT

# Bounds of "good" and "moderate" agreement: D. Steinley, Properties of the Hubert-Arabie adjusted
# Rand index, Psychological Methods 9(3), 2004.
_GOOD = 0.8
_MODERATE = 0.65

# How many clusters a sentence names.
_MAX_NAMED = 8


def largest_window(baseline: Baseline) -> int:
    """Return the most events of a window that the reference still counts 20 times as many as."""
    return baseline.metadata.reference_count // MIN_RATIO


def tiny_clusters(baseline: Baseline) -> list[int]:
    """Return the clusters in which a window of 500 events expects fewer than five."""
    return [int(i) for i in np.flatnonzero(baseline.counts < _TINY_SHARE * baseline.counts.sum())]


def largest_inflation(overdispersion: Overdispersion) -> float:
    """Return how many times the variance of independent events the mean has, where that is most."""
    return float(np.linalg.eigvalsh(overdispersion.means)[-1])


def overdispersion_reading(overdispersion: Overdispersion) -> str:
    """Return how much more windows vary for the events' being related."""
    return (
        f"counts vary {overdispersion.counts:.2f} times as much as those of independent events, means up to "
        f"{largest_inflation(overdispersion):.2f} times"
    )


def stability_reading(stability: float) -> str:
    """Return what the agreement of other seeds means."""
    if stability >= _GOOD:
        meaning = "other seeds find much the same clusters"
    elif stability >= _MODERATE:
        meaning = "other seeds draw the borders of some clusters elsewhere"
    else:
        meaning = "other seeds find other clusters"
    return f"{stability:.2f} (adjusted Rand index, 1 is the same clusters): {meaning}"


def notes(baseline: Baseline) -> list[str]:
    """Return what whoever relies on the baseline should know, each with what would help."""
    about, found = baseline.metadata, []
    if about.training_set:
        found.append(
            "The model was trained on this reference and has seen its inputs: with enough events, live data "
            "may look different without any drift. Better fit on data that the model has not seen."
        )
    if baseline.overdispersion is None:
        found.append(
            "How far related events come together is not known: p-values are not calibrated for bursts, "
            "which make clean windows look like drift. Better fit on events with timestamps, of many windows."
        )
    if tiny := tiny_clusters(baseline):
        listed = ", ".join(map(str, tiny[:_MAX_NAMED])) + (", …" if len(tiny) > _MAX_NAMED else "")
        found.append(
            f"{len(tiny)} of the clusters are tiny ({listed}): a window of {_WINDOW_COUNT} events expects "
            f"fewer than {_LEAST_EXPECTED} in each, which adds noise and hardly finds drift. Fewer clusters "
            f"would help."
        )
    if about.stability is not None and about.stability < _MODERATE:
        found.append(
            "The clusters depend on the seed: drift is seen, but which cluster moved says little, and a "
            "baseline fitted again will have other clusters. Fewer clusters may be steadier."
        )
    return found
