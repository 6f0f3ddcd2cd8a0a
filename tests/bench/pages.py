"""False pages in years without drift, of single windows and of what lasts: `python -m tests.bench.pages`.

Hourly windows at a budget of one page a year, simulated as statistics: a window is a normal vector of counts
and means, in standard errors of independent events, and so are the baseline's error and the windows of the
warm-up. What the service computes from tallies is computed here from these vectors, for all baselines at
once. Events come in bursts, which inflate the leading components most; two directions follow a daily cycle;
a window is correlated with the one before. The other tests of a window are uniform and independent.
"""

import argparse
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.signal import lfilter
from scipy.special import fdtrc, gammaincinv, ndtri
from tests.bench.population import CLUSTERS, HOUR_MS
from tests.output import say

from driftgauge.core.statistics import registry
from driftgauge.core.statistics.budget import window_level
from driftgauge.core.statistics.cusum import threshold
from driftgauge.core.statistics.divergence import DIVERGENCE
from driftgauge.core.statistics.mean_shift import LEADING_COMPONENTS, MEAN_SHIFT
from driftgauge.core.statistics.quadratic_form import QuadraticForm, effective_degrees

BASELINES = 20
YEARS = 5
HOURS_A_YEAR = 8_766
COUNT = 200  # events in a window
COMPONENTS = 32
SPECTRUM = 0.85 ** np.arange(COMPONENTS)  # the components' variances
RATIOS = (0.04, 0.4)  # n/m
WARM_UPS = (48, 336)  # windows
GRID = 150  # values at which a tail is computed; those between are interpolated

# As in the service.
LIMIT_MARGIN, MAX_Z, ALLOWANCE, MAX_EXCESS = 2.5, 4.0, 0.5, 1.0
RARITY, BLOCK = 100, 48

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Noise:
    """What makes windows vary beyond independent events.

    Attributes:
        burst: The events of a burst.
        cycle: The amplitude of the daily cycle, in standard errors of independent events.
        correlation: That of a window with the one before.
    """

    burst: int
    cycle: float
    correlation: float

    @property
    def variances(self) -> Array:
        """Of the counts' directions and the components, relative to independent events."""
        return 1 + (self.burst - 1) * np.hstack([np.ones(CLUSTERS - 1), np.linspace(1, 0, COMPONENTS)])

    def draw(self, random: np.random.Generator, windows: int) -> Array:
        """Draw consecutive windows of all baselines, (windows, BASELINES, directions)."""
        drawn = random.standard_normal((windows, BASELINES, len(self.variances)))
        drawn = lfilter([np.sqrt(1 - self.correlation**2)], [1, -self.correlation], drawn, axis=0)
        drawn *= np.sqrt(self.variances)
        angles = np.arange(windows) * 2 * np.pi / 24
        drawn[:, :, CLUSTERS - 1] += self.cycle * np.cos(angles)[:, None]
        drawn[:, :, CLUSTERS] += self.cycle * np.sin(angles)[:, None]
        return drawn


NOISES = {
    "independent": Noise(1, 0.0, 0.0),
    "bursts of 5, a daily cycle of .7, autocorrelation .1": Noise(5, 0.7, 0.1),
    "the same, a daily cycle of 5": Noise(5, 5.0, 0.1),
}


class Judge:
    """The tests of windows against the baselines, re-centred by a warm-up."""

    def __init__(self, warm_up: Array, error: Array, ratio: float) -> None:
        """Learn from a warm-up (windows, BASELINES, directions) and the baselines' errors, in one unit."""
        self._windows = len(warm_up)
        mean, share = warm_up.mean(axis=0), ratio / (ratio + 1 / len(warm_up))
        self._reference = share * mean + (1 - share) * error
        self._of_reference = share**2 / len(warm_up) + (1 - share) ** 2 * ratio
        variances = np.square(warm_up - mean).sum(axis=0) / (len(warm_up) - 1)
        counts, self._means = np.split(variances, [CLUSTERS - 1], axis=1)
        self._counts = np.maximum(counts.mean(axis=1), 1.0)
        falling = np.array([isotonic_regression(each, increasing=False).x for each in self._means])
        self._falling = np.maximum(falling, 1.0)
        self._tails = [
            [
                *(
                    _tabulate(means[:number] / over[:number], len(warm_up), len(np.unique(over[:number])))
                    for number in (COMPONENTS, LEADING_COMPONENTS)
                ),
                _tabulate(SPECTRUM * means, len(warm_up), 1),
            ]
            for means, over in zip(self._means, self._falling, strict=True)
        ]

    def test(
        self, random: np.random.Generator, means: Array, together: Array, of: NDArray[np.intp]
    ) -> tuple[Array, Array]:
        """Return p-values and sizes in units of the smallest drift, (windows,).

        Args:
            random: Draws the p-values of the other tests.
            means: (windows, directions), means of windows.
            together: (windows,), how many each is the mean of.
            of: (windows,), the baseline of each.
        """
        noise = (1 / together + self._of_reference)[:, None]
        counts, squares = np.split(np.square(means - self._reference[of]) / noise, [CLUSTERS - 1], axis=1)
        over_counts, chi_squared, terms = self._counts[of], counts.sum(axis=1), squares / self._falling[of]
        forms = terms.sum(axis=1), terms[:, :LEADING_COMPONENTS].sum(axis=1), squares @ SPECTRUM
        p_values = np.empty((4, len(means)))
        p_values[0] = fdtrc(
            CLUSTERS - 1, self._windows * (CLUSTERS - 1), chi_squared / over_counts / (CLUSTERS - 1)
        )
        for baseline in np.unique(of):
            own = of == baseline
            for p_value, form, (at, logs) in zip(p_values[1:], forms, self._tails[baseline], strict=True):
                p_value[own] = np.exp(np.interp(form[own], at, logs))
        weighted = [*DIVERGENCE.weights, *MEAN_SHIFT.weights]
        others = [w for each in registry.STATISTICS for w in each.weights][len(weighted) :]
        drawn = random.random((len(others), len(means)))
        cauchy = sum(
            weight / np.tan(np.pi * np.clip(p_value, 1e-300, 0.99))
            for weight, p_value in zip([*weighted, *others], [*p_values, *drawn], strict=True)
        )
        js = (chi_squared - (CLUSTERS - 1) * over_counts) / (8 * np.log(2))
        shift = squares.sum(axis=1) - self._means[of].sum(axis=1)
        sizes = np.maximum(js / DIVERGENCE.smallest, shift / MEAN_SHIFT.smallest) * noise[:, 0] / COUNT
        return np.arctan2(1, cauchy / registry.total_weight()) / np.pi, sizes


def _tabulate(weights: Array, windows: int, levels: int) -> tuple[Array, Array]:
    """Return values of a quadratic form with weights from a warm-up, and the logarithms of their tails."""
    form = QuadraticForm(weights, windows * min(effective_degrees(weights), len(weights) / levels))
    at = weights.sum() * np.geomspace(0.02, 50, GRID)
    return at, np.log([form.tail(value) for value in at])


class Stream:
    """The streams of all baselines, judged hour by hour."""

    def __init__(self, judge: Judge, random: np.random.Generator, level: float) -> None:
        self._judge, self._random, self._level = judge, random, level
        self._limit = threshold(LIMIT_MARGIN / level)
        self._sum = np.zeros(BASELINES)
        # The windows since slow drift began, by its last two blocks: how many, and their sums.
        self._together, self._pools = (
            np.zeros((2, BASELINES)),
            np.zeros((2, BASELINES, CLUSTERS - 1 + COMPONENTS)),
        )

    def judge(self, windows: Array) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which windows page alone or with two others, by what lasts, and have slow drift."""
        baselines = np.tile(np.arange(BASELINES), len(windows))
        flat = windows.reshape(len(baselines), -1)
        p_values, sizes = (
            each.reshape(-1, BASELINES)
            for each in self._judge.test(self._random, flat, np.ones(len(flat)), baselines)
        )
        found = (p_values < self._level) & (sizes >= 0.5)
        recent = found.astype(int)
        recent[1:] += found[:-1]
        recent[2:] += found[:-2]
        evidence = np.clip(-ndtri(p_values), -MAX_Z, MAX_Z) - ALLOWANCE
        slow, lasting = np.zeros_like(found), np.zeros_like(found)
        together, pools = np.zeros(found.shape), np.zeros_like(windows)
        for hour, step in enumerate(evidence):
            self._sum = np.clip(self._sum + step, 0, self._limit + MAX_EXCESS)
            is_full = self._together[1] == BLOCK
            for each, added in ((self._together, 1.0), (self._pools, windows[hour])):
                each[:, is_full] = np.stack([each[1, is_full], np.zeros_like(each[1, is_full])])
                each[1] += added
                each[:, self._sum == 0] = 0
            slow[hour] = self._sum >= self._limit
            together[hour], pools[hour] = self._together.sum(axis=0), self._pools.sum(axis=0)
        hours, of = (together > 1).nonzero()
        number = together[hours, of]
        p_value, size = self._judge.test(self._random, pools[hours, of] / number[:, None], number, of)
        lasting[hours, of] = (p_value < self._level / RARITY) & (size >= 1)
        return recent >= 2, lasting, slow


def count_starts(each: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return how often something begins, (BASELINES,), of (windows, BASELINES)."""
    return (each[1:] & ~each[:-1]).sum(axis=0)


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    start, level, years = time.perf_counter(), window_level(1.0, [HOUR_MS]), BASELINES * YEARS
    say(f"{BASELINES} baselines, {YEARS} years, budget 1 page a year: a year, [upper 95 % bound]\n")
    say("| windows | n/m | warm-up | pages of single windows | all pages | worst baseline | slow drift |")
    say("|---" * 7 + "|")
    for name, noise in NOISES.items():
        for ratio in RATIOS:
            for warm_up in WARM_UPS:
                random = np.random.default_rng([int(100 * ratio), warm_up, noise.burst, int(noise.cycle)])
                error = replace(noise, cycle=0.0).draw(random, 1)[0] * np.sqrt(ratio)
                stream = Stream(Judge(noise.draw(random, warm_up), error, ratio), random, level)
                # A year at a time, to bound the memory.
                judged = [stream.judge(noise.draw(random, HOURS_A_YEAR)) for _ in range(YEARS)]
                single, lasting, slow = (np.concatenate(each) for each in zip(*judged, strict=True))
                pages = count_starts(single | lasting)
                bound = float(gammaincinv(pages.sum() + 1, 0.95)) / years
                say(
                    f"| {name} | {ratio} | {warm_up} | {count_starts(single).sum() / years:.2f} "
                    f"| {pages.sum() / years:.2f} [{bound:.2f}] | {pages.max() / YEARS:.1f} "
                    f"| {count_starts(slow).sum() / years:.2f} |"
                )
    say(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
