"""Drift of each kind, found and named: `python -m tests.bench.power`, seven minutes and more.

The cases, scored as the service scores them. For each case: the share of windows found at
p < 0.01 as shipped, with the standard error over splits; the same at the 1 % quantile of the p-values of
clean windows; by MMD at its own; the paired difference of these two; and the kinds that the found windows
name.

Then drift of exactly the `detectable` size is planted, at the level of one false page a year on windows of an
hour.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from tests.bench.embeddings import IMAGES, TEXTS, load, load_vectors, parser_with_data
from tests.bench.population import CLUSTERS, HOUR_MS, Population, events_of, spec
from tests.output import say

from driftgauge.baseline.fitting import fit_baseline
from driftgauge.core.counting.tally import Tally
from driftgauge.core.judging.calibration import Calibration
from driftgauge.core.judging.scoring import Score, WindowScorer
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.relations import RELATIONS
from driftgauge.streams import to_reference

SEED = 27  # of the drawn users
COUNT = 200
REFERENCES = 1_000
OUTLIERS = 0.02
FAR = 5.0
NEW_KIND = 0.03
NEAR = 100
USERS = 10_000
GENRES, ITEMS, FLOATS = 8, 250, 64  # items of each genre, the more frequent first
LOYAL = 0.5  # the share of a user's items that is of the favourite genre for certain
SEEN = 4  # items of a user, on average

Array = NDArray[np.float64]
Windows = NDArray[np.intp]
"""The rows of windows, (windows, COUNT)."""


@dataclass(frozen=True)
class Case:
    """What replaces a clean stream.

    Attributes:
        vectors: (N, d) float32, to draw from.
        draw: Returns the rows of windows.
    """

    vectors: NDArray[np.float32]
    draw: Callable[[np.random.Generator, int], Windows]


@dataclass(frozen=True)
class Split:
    """The baseline's vectors, the clean vectors of the other half, and the cases."""

    reference: NDArray[np.float32]
    live: NDArray[np.float32]
    cases: Mapping[str, Case]


class Mmd:
    """The squared maximum mean discrepancy of windows, which keeps raw vectors of the baseline.

    With a Gaussian kernel of the median distance. Source: A. Gretton et al., A kernel two-sample test,
    Journal of Machine Learning Research 13, 2012.
    """

    def __init__(self, reference: NDArray[np.float32], seed: int) -> None:
        random = np.random.default_rng([seed, 8])
        choice = random.choice(len(reference), min(REFERENCES, len(reference)), replace=False)
        self._references = reference[choice].astype(np.float64)
        among = _squared(self._references, self._references)
        self._bandwidth = float(np.median(among[np.triu_indices(len(among), 1)]))

    def statistic(self, vectors: NDArray[np.float32], windows: Windows) -> Array:
        """Return that of windows, (windows,), up to a constant: larger is further from the baseline."""
        used, inverse = np.unique(windows, return_inverse=True)
        rows = inverse.reshape(windows.shape)
        drawn = vectors[used].astype(np.float64)
        weights = np.zeros((len(windows), len(used)))
        for window, row in zip(weights, rows, strict=True):
            np.add.at(window, row, 1 / windows.shape[1])
        scale = -2 * self._bandwidth
        to_references = np.exp(_squared(drawn, self._references) / scale).mean(axis=1)
        among = np.exp(_squared(drawn, drawn) / scale)
        result: Array = np.einsum("wn,wn->w", weights @ among, weights) - 2 * weights @ to_references
        return result


def _squared(one: Array, other: Array) -> Array:
    result: Array = np.square(one).sum(axis=1)[:, None] + np.square(other).sum(axis=1) - 2 * one @ other.T
    return result


def weighted(weights: Array) -> Callable[[np.random.Generator, int], Windows]:
    """Return a draw with replacement by these weights."""
    probabilities = weights / weights.sum()
    return lambda random, windows: random.choice(len(weights), (windows, COUNT), p=probabilities)


def whole(available: int, count: int = COUNT) -> Callable[[np.random.Generator, int], Windows]:
    """Return a draw without replacement within a window."""
    return lambda random, windows: (
        random.random((windows, available)).argpartition(count, axis=1)[:, :count].astype(np.intp)
    )


def new_kind(live: NDArray[np.float32], random: np.random.Generator) -> Case:
    """Return events of which some lie close together, beyond those that are near one of the others."""
    distances = np.square(live - live[random.integers(len(live))]).sum(axis=1)
    near = live[distances.argpartition(NEAR)[:NEAR]]
    middle = near.mean(axis=0)
    own = near - middle
    farthest = own[np.square(own).sum(axis=1).argmax()]
    new = (middle + 2 * farthest + np.float32(0.3) * own).astype(np.float32)
    weights = np.repeat([(1 - NEW_KIND) / len(live), NEW_KIND / NEAR], [len(live), NEAR])
    return Case(np.r_[live, new], weighted(weights))


def one_repeated(live: NDArray[np.float32]) -> Case:
    """Return events of which a twentieth are the same one."""
    weights = np.r_[np.full(len(live), 0.95 / len(live)), 0.05]
    return Case(np.r_[live, live[:1]], weighted(weights))


def images(folder: Path, splits: int) -> Iterator[Split]:
    test, blurred, darkened = load_vectors(folder, IMAGES, "test", "blurred_mild", "darkened_mild")
    (labels,) = load(folder, IMAGES, "test_label")
    for number in range(splits):
        random = np.random.default_rng([number, 0])
        fitted, rows = np.split(random.permutation(len(test)), 2)
        live, mean, deviation = test[rows], test.mean(axis=0), test.std(axis=0)
        draw = whole(len(live))
        far = np.where(random.random((len(live), 1)) < OUTLIERS, np.float32(FAR), np.float32(1))
        yield Split(
            test[fitted],
            live,
            {
                "clean": Case(live, draw),
                "spread x 1.1": Case(mean + (live - mean) * np.float32(1.1), draw),
                "spread x 0.9": Case(mean + (live - mean) * np.float32(0.9), draw),
                "2 % outliers": Case(mean + (live - mean) * far, draw),
                "noise on every axis": Case(
                    live + (0.5 * deviation * random.standard_normal(live.shape)).astype(np.float32), draw
                ),
                "one image in 5 %": one_repeated(live),
                "a new kind": new_kind(live, random),
                "a class doubled": Case(live, weighted(np.where(labels[rows] == number % 10, 2.0, 1.0))),
                "blurred, radius 0.5": Case(blurred[rows], draw),
                "darkened, to 0.6": Case(darkened[rows], draw),
            },
        )


def texts(folder: Path, splits: int) -> Iterator[Split]:
    (vectors,), (topics,) = load_vectors(folder, TEXTS, "emb"), load(folder, TEXTS, "topic")
    for number in range(splits):
        random = np.random.default_rng([number, 1])
        unseen = number % 3
        known = random.permutation(np.flatnonzero(topics != unseen))
        fitted, rows = np.split(known, [len(known) // 2])
        others = np.flatnonzero(topics == unseen)
        live = vectors[rows]
        mixed = np.concatenate([live, vectors[others]])
        doubled = topics[rows] == (unseen + 1) % 3

        def mixture(share: float, own: int = len(rows), other: int = len(others)) -> Array:
            return np.r_[np.full(own, (1 - share) / own), np.full(other, share / other)]

        yield Split(
            vectors[fitted],
            live,
            {
                "clean": Case(live, whole(len(live))),
                "an unseen topic in 10 %": Case(mixed, weighted(mixture(0.1))),
                "an unseen topic in 20 %": Case(mixed, weighted(mixture(0.2))),
                "a new kind": new_kind(live, random),
                "a topic doubled": Case(live, weighted(np.where(doubled, 2.0, 1.0))),
            },
        )


def draw_users(
    random: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Return users of a recommender: the mean of the items that each has seen, and the numbers of these.

    A few items are seen by many, and a user of one item has exactly its vector. The whole is not elliptical:
    the fewer the items, the longer the vector.

    Returns:
        The vectors, (USERS, FLOATS); the favourite genres, (USERS,); the numbers of items, (USERS,).
    """
    means = random.standard_normal((GENRES, 1, FLOATS))
    items = means + random.standard_normal((GENRES, ITEMS, FLOATS))
    favourites, seen = random.integers(GENRES, size=USERS), random.geometric(1 / SEEN, USERS)
    own = np.repeat(favourites, seen)
    genres = np.where(random.random(len(own)) < LOYAL, own, random.integers(GENRES, size=len(own)))
    by_rank = 1 / np.arange(1, ITEMS + 1)
    ranks = random.choice(ITEMS, len(own), p=by_rank / by_rank.sum())
    sums = np.add.reduceat(items[genres, ranks], np.cumsum(seen) - seen)
    return (sums / seen[:, None]).astype(np.float32), favourites, seen


def users(_: Path, splits: int) -> Iterator[Split]:
    vectors, favourites, seen = draw_users(np.random.default_rng(SEED))
    for number in range(splits):
        random = np.random.default_rng([number, 2])
        fitted, rows = np.split(random.permutation(USERS), 2)
        live, mean, draw = vectors[rows], vectors.mean(axis=0), whole(len(rows))
        yield Split(
            vectors[fitted],
            live,
            {
                "clean": Case(live, draw),
                "spread x 1.1": Case(mean + (live - mean) * np.float32(1.1), draw),
                "one user in 5 %": one_repeated(live),
                "a new kind": new_kind(live, random),
                "a genre doubled": Case(
                    live, weighted(np.where(favourites[rows] == number % GENRES, 2.0, 1.0))
                ),
                "users of one item doubled": Case(live, weighted(np.where(seen[rows] == 1, 2.0, 1.0))),
            },
        )


LEVEL = 0.01
WINDOWS = 200
CLEAN = 1_000
LARGE = 1_000  # events in a window of drift of the detectable size
PLANTED_SPLITS, PLANTED = 40, 15  # windows of each


class Scored:
    """A baseline fitted on some vectors, and the scores of windows against it."""

    def __init__(
        self,
        vectors: NDArray[np.float32],
        seed: int,
        clusters: int = CLUSTERS,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        fitted = fit_baseline(
            vectors, stream="bench", clusters=clusters, seed=seed, created_ms=0, progress=progress
        )
        self.reference = to_reference(fitted)
        self.spec = replace(spec(self.reference, HOUR_MS), min_events=1)
        calibration = Calibration.of_baseline(self.reference, HOUR_MS)
        self._scorer = WindowScorer(self.spec, self.reference, calibration, HOUR_MS)

    def scores(self, vectors: NDArray[np.float32], windows: Iterable[NDArray[np.intp]]) -> list[Score]:
        """Return the scores of windows, each the rows of its vectors."""
        centroids = self.reference.centroids
        population = Population(vectors, centroids.assign(vectors), centroids)
        tallies = population.tallies(self.reference)
        found = [
            self._scorer.score(Tally(tallies[rows].sum(axis=0), registry.fields_of(self.reference)))
            for rows in windows
        ]
        return [score for score in found if score is not None]


KINDS = [each.kind for each in registry.STATISTICS]


def find(title: str, splits: Iterator[Split]) -> None:
    """Print what is found in the cases."""
    found: dict[str, dict[str, list[float]]] = {}
    kinds: dict[str, Counter[str]] = {}
    for number, split in enumerate(splits):
        random, baseline = np.random.default_rng([number, 3]), Scored(split.reference, number)
        mmd = Mmd(split.reference, number)
        clean = split.cases["clean"]
        windows = clean.draw(random, CLEAN)
        calm = [score.p_value for score in baseline.scores(clean.vectors, windows)]
        threshold = float(np.quantile(calm, LEVEL))
        mmd_threshold = float(np.quantile(mmd.statistic(clean.vectors, windows), 1 - LEVEL))
        for case, drift in split.cases.items():
            windows = drift.draw(random, CLEAN if case == "clean" else WINDOWS)
            scores = baseline.scores(drift.vectors, windows)
            at_threshold = float(np.mean([score.p_value < threshold for score in scores]))
            by_mmd = float((mmd.statistic(drift.vectors, windows) > mmd_threshold).mean())
            rates = {
                "found": float(np.mean([score.p_value < LEVEL for score in scores])),
                "at the threshold": at_threshold,
                "MMD": by_mmd,
                "less MMD": at_threshold - by_mmd,
            }
            for name, rate in rates.items():
                found.setdefault(case, {}).setdefault(name, []).append(rate)
            kinds.setdefault(case, Counter()).update(
                max(score.evidence, key=score.evidence.__getitem__)
                for score in scores
                if score.p_value < LEVEL
            )
    say(f"\n{title}, {COUNT} events: windows found at p < {LEVEL} [standard error], and their kinds\n")
    names = list(found["clean"])
    say("| case | " + " | ".join([*names, *KINDS]) + " |")
    say("|---" * (1 + len(names) + len(KINDS)) + "|")
    for case, row in found.items():
        cells = [mean_and_error(row[name]) for name in names]
        total = max(kinds[case].total(), 1)
        cells += [f"{kinds[case][kind] / total:.0%}" for kind in KINDS]
        say(f"| {case} | " + " | ".join(cells) + " |")


def plant(splits: Iterator[Split]) -> None:
    """Print how often drift of exactly the detectable size is found, by its kind.

    There are many splits, since all windows of one share the errors of its baseline and of its live vectors.
    Windows are drawn without replacement, so that the error of the live vectors is part of their own.
    """
    rates: dict[str, list[float]] = {}
    for number, split in enumerate(splits):
        random, baseline = np.random.default_rng([number, 5]), Scored(split.reference, number)
        live, reference = split.live, baseline.reference
        rows = whole(len(live), LARGE)(random, PLANTED)
        (score,) = baseline.scores(live, rows[:1])
        size, level = score.detectable, baseline.spec.alarm.level
        events = events_of(reference, live)
        clusters, projection = events.cluster, reference.projection
        # The mix: each event's weight by its cluster, so that the shares have exactly this divergence.
        shares = np.bincount(clusters, minlength=CLUSTERS) / len(live)
        mix = thinned(random, (moved(shares, size["js_divergence"], random) / shares)[clusters])
        # The shift: along one direction of the components, of this Mahalanobis length.
        direction = random.standard_normal(len(projection.variances))
        direction *= math.sqrt(size["mean_shift"]) / np.linalg.norm(direction)
        shift = (direction * projection.deviations) @ projection.components
        # Novelty: this share of events in place of others, drawn from those beyond the radius.
        outliers = np.flatnonzero(events.are_outliers)
        novel = np.where(
            random.random(rows.shape) < size["novelty"], random.choice(outliers, rows.shape), rows
        )
        spread = projection.mean + (live - projection.mean) * math.sqrt(1 + size["spread"])
        # Duplicates: one item in place of others.
        item = random.integers(0, len(live), (PLANTED, 1))
        repeated = np.where(random.random(rows.shape) < size["duplicates"], item, rows)
        # Relations: each event's weight by its product of the two leading coordinates around its cluster's
        # mean, less what the mix and the mean explain.
        (measured,) = RELATIONS.measure(events)
        product = measured[:, 1, 0] * measured[:, 1, 1]
        others = np.column_stack([np.eye(CLUSTERS)[clusters], events.coordinates])
        left = product - others @ np.linalg.lstsq(others, product)[0]
        related = thinned(random, weighed(product, left, size["relations"]))
        planted = {
            "relations": (live, related),
            "mix": (live, mix),
            "shift": ((live + shift).astype(np.float32), rows),
            "novelty": (live, novel),
            "spread": (spread.astype(np.float32), rows),
            "duplicates": (live, repeated),
        }
        for kind, (vectors, windows) in planted.items():
            found = [score.p_value < level for score in baseline.scores(vectors, windows)]
            rates.setdefault(kind, []).append(float(np.mean(found)))
    say(f"\nDrift of the detectable size, {LARGE} events a window, level 1/8766: found [standard error]\n")
    for kind, values in rates.items():
        say(f"- {kind}: {mean_and_error(values)}")


def thinned(random: np.random.Generator, weights: Array) -> Windows:
    """Return windows without replacement, of events in proportion to their weights."""
    kept = random.random((PLANTED, len(weights))) < weights / weights.max()
    return np.stack([random.permutation(np.flatnonzero(own))[:LARGE] for own in kept])


def weighed(values: Array, by: Array, change: float) -> Array:
    """Return weights that rise with `by` and change the mean of values by this part of their deviation."""

    def weights(slope: float) -> Array:
        return np.maximum(1 + slope * by, 0.0)

    aim = values.mean() + change * values.std()
    slope = brentq(lambda slope: np.average(values, weights=weights(slope)) - aim, 0, 2 / by.std())
    return weights(slope)


def moved(shares: Array, js_divergence: float, random: np.random.Generator) -> Array:
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


def mean_and_error(values: list[float]) -> str:
    error = np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{np.mean(values):.3f} [{error:.3f}]"


def main() -> None:
    parser = parser_with_data(__doc__)
    parser.add_argument("--splits", type=int, default=20, help="default: 20")
    options = parser.parse_args()
    start = time.perf_counter()
    find("Images", images(options.data, options.splits))
    find("Texts", texts(options.data, options.splits))
    find("Users of a recommender", users(options.data, options.splits))
    plant(images(options.data, PLANTED_SPLITS))
    say(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
