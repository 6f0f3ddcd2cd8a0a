"""How often drift of the `detectable` size is found: `python -m tests.bench.power`.

Windows of images of half of the baseline's vectors; of each kind, drift of exactly the size that 80 % of
windows should find, at the level of one false page a year on windows of an hour.
"""

import math
from collections.abc import Iterator

import numpy as np
from scipy.optimize import brentq
from tests.bench.embeddings import DATA, IMAGES, Array, Rows, Vectors, load_vectors
from tests.bench.judged import CLUSTERS, Scored
from tests.bench.tables import mean_and_error, say_header, say_row
from tests.options import parse_options

from driftgauge.core.statistics import registry
from driftgauge.core.statistics.relations import RELATIONS

EVENTS = 1_000  # of a window
WINDOWS = 15  # of each split and kind


def plant(
    baseline: Scored, live: Vectors, random: np.random.Generator
) -> Iterator[tuple[str, Vectors, list[Rows]]]:
    """Yield vectors and windows with drift of exactly the detectable size, by its kind.

    Windows are drawn without replacement, so that the error of the live vectors is part of their own.
    """
    reference = baseline.reference
    rows = random.random((WINDOWS, len(live))).argpartition(EVENTS, axis=1)[:, :EVENTS]
    (score,) = baseline.scores(live, rows[:1])
    size = score.detectable
    events = registry.place(reference, live, reference.centroids.assign(live))
    clusters, projection = events.cluster, reference.projection
    # The mix: each event's weight by its cluster, so that the shares have exactly this divergence.
    shares = np.bincount(clusters, minlength=CLUSTERS) / len(live)
    yield "mix", live, thin(random, (move(shares, size["js_divergence"], random) / shares)[clusters])
    # The shift: along one direction of the components, of this Mahalanobis length.
    direction = random.standard_normal(len(projection.variances))
    direction *= math.sqrt(size["mean_shift"]) / np.linalg.norm(direction)
    shift = (direction * projection.deviations) @ projection.components
    yield "shift", (live + shift).astype(np.float32), [*rows]
    # Novelty: this share of events in place of others, drawn from those beyond the radius.
    outliers = np.flatnonzero(events.are_outliers)
    novel = np.where(random.random(rows.shape) < size["novelty"], random.choice(outliers, rows.shape), rows)
    yield "novelty", live, [*novel]
    spread = projection.mean + (live - projection.mean) * math.sqrt(1 + size["spread"])
    yield "spread", spread.astype(np.float32), [*rows]
    # Duplicates: one item in place of others.
    item = random.integers(0, len(live), (WINDOWS, 1))
    yield "duplicates", live, [*np.where(random.random(rows.shape) < size["duplicates"], item, rows)]
    # Relations: each event's weight by its product of the two leading coordinates around its cluster's mean,
    # less what the mix and the mean explain.
    (measured,) = RELATIONS.measure(events)
    product = measured[:, 1, 0] * measured[:, 1, 1]
    others = np.column_stack([np.eye(CLUSTERS)[clusters], events.coordinates])
    left = product - others @ np.linalg.lstsq(others, product)[0]
    yield "relations", live, thin(random, weigh(product, left, size["relations"]))


def thin(random: np.random.Generator, weights: Array) -> list[Rows]:
    """Return windows without replacement, of events in proportion to their weights."""
    kept = random.random((WINDOWS, len(weights))) < weights / weights.max()
    return [random.permutation(np.flatnonzero(own))[:EVENTS] for own in kept]


def weigh(values: Array, by: Array, change: float) -> Array:
    """Return weights that rise with `by` and change the mean of values by this part of their deviation."""

    def weights(slope: float) -> Array:
        return np.maximum(1 + slope * by, 0.0)

    aim = values.mean() + change * values.std()
    return weights(brentq(lambda slope: np.average(values, weights=weights(slope)) - aim, 0, 2 / by.std()))


def move(shares: Array, js_divergence: float, random: np.random.Generator) -> Array:
    """Return shares at this base-2 divergence from others, in a random direction if one is long enough."""
    direction = random.normal(size=len(shares)) * shares
    direction -= direction.sum() * shares

    def divergence(step: float) -> float:
        other = shares + step * direction
        middle = (shares + other) / 2
        parts = other * np.log2(other / middle) + shares * np.log2(shares / middle)
        return float(parts.sum() / 2) - js_divergence

    largest = 0.999 * float(np.min(shares[direction < 0] / -direction[direction < 0]))
    if divergence(largest) < 0:
        # Only a move towards one cluster is as large.
        direction, largest = np.eye(len(shares))[shares.argmin()] - shares, 0.999
    return shares + brentq(divergence, 0, largest) * direction


def main() -> None:
    # Many splits, since all windows of a split share the errors of its baseline and of its live vectors.
    options = parse_options(__doc__, data=DATA, splits=40)
    (vectors,) = load_vectors(options.data, IMAGES, "test")
    rates: dict[str, list[float]] = {}
    for number in range(options.splits):
        fitted, rows = np.split(np.random.default_rng([number, 0]).permutation(len(vectors)), 2)
        baseline, random = Scored(vectors[fitted], number), np.random.default_rng([number, 5])
        for kind, changed, windows in plant(baseline, vectors[rows], random):
            found = baseline.share_found(changed, windows, baseline.spec.alarm.level)
            rates.setdefault(kind, []).append(found)
    say_header("kind", f"found of windows of {EVENTS} events [standard error]")
    for kind, values in rates.items():
        say_row(kind, mean_and_error(values))


if __name__ == "__main__":
    main()
