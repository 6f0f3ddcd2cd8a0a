"""How large a divergence is when nothing has drifted, and how rare a larger one."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, chdtri, expit, gammaln, logit, rel_entr

__all__ = ["CountNull", "noise_floor"]

# Jeffreys' prior for the shares of the clusters.
PRIOR = 0.5

# Windows are drawn from the null and from two wider distributions, in which a divergence as rare as
# these levels is an ordinary one; so many from each. Together they know a p-value of 1e-2 to about
# 4 % and one of 1e-4 to 6 %, where as many from the null alone know the first to 10 %.
DRAWS = 3_000
TAIL_LEVELS = (1e-3, 1e-6)

# The probabilities whose quantiles are kept: 5 % apart, from 0.999 down to where the tail begins.
LEAST_LEVEL = 1e-6
LEVELS = expit(np.linspace(7.0, logit(LEAST_LEVEL), 420))

# Further out the tail has no float of its own, and a p-value is never zero.
LEAST_P_VALUE = float(np.finfo(np.float64).tiny)

# Windows of few events share their divergences but for rounding: closer than this they are the same.
TOLERANCE = 1e-8

# Simulated counts have three binary digits: 1 to 8, then 10, 12, 14, 16, 20, 24, 28, 32, 40 and so on.
# Between such neighbours interpolation errs by no more than the draws do.
GRID_DIGITS = 3


def noise_floor(clusters: int, count: int, baseline_count: float) -> float:
    """Return the Jensen-Shannon divergence to expect without any drift, base 2, 0 or more.

    E[JSD] is about (k - 1) / (8 ln 2) * (1/n + 1/m) for independent events (second-order
    expansion, in which 8 ln 2 * nm/(n+m) * JSD is chi-squared with k - 1 degrees of freedom).
    It is some per cent low where clusters hold few events, and too low where events come in
    related bursts.

    Args:
        clusters: k, the number of clusters.
        count: n, the window's events, at least 1.
        baseline_count: m, the events behind the baseline's histogram, at least 1; infinity is allowed.
    """
    return (clusters - 1) / (8 * math.log(2)) * (1 / count + 1 / baseline_count)


@dataclass(frozen=True, slots=True, eq=False)
class _Simulated:
    """The scaled divergence of windows of one count without drift.

    Attributes:
        mean: Its mean.
        quantiles: (LEVELS,) float64, never falling: the least value that is reached or passed with
            at most that probability.
    """

    mean: float
    quantiles: NDArray[np.float64]


class CountNull:
    """The distribution of the divergence between a window and a baseline while nothing drifts.

    It is the posterior predictive one: the true shares are Dirichlet (the baseline's counts plus 1/2),
    a window is multinomial with them, and is compared with the baseline's histogram. So the baseline's
    own sampling is part of the noise. It holds its level on average over baselines, not for each of
    them: a baseline that by chance lies far from the truth alarms more often than one close to it.
    Where a window has two events a cluster and the baseline only ten times as many, the prior matters,
    and a level of 1 % is 1.2 to 1.9 %; with more of either it is 0.85 to 1.2 %.

    Over-dispersion divides the counts, the window's and the baseline's (Rao and Scott's correction of
    the first order, Journal of the American Statistical Association 76, 1981).

    The distribution is simulated at a grid of counts, each when it is first needed: some 10 ms for 5
    clusters, 30 ms for 20, 70 ms for 50 and 300 ms for 300, up to twice that above 3,000 events, and
    3.4 kB. A window needs the two around its count; once they are there, an answer takes some 10
    microseconds. Between the two, the quantiles of 8 ln 2 * nm/(n+m) * JSD are interpolated, which is
    nearly chi-squared with k - 1 degrees of freedom whatever n is. The seed is made of the baseline's
    counts and the grid's, so the same window gets the same answer in every process with the same numpy.

    Plain simulation needs some 100 / p draws for a p-value p. Here a mixture of the null and of wider
    distributions is drawn from, and weighted back (Hesterberg, Technometrics 37, 1995). All of them are
    Dirichlet-multinomial, so the weights are exact, and among windows that diverge alike they differ
    little. Beyond p = 1e-6 the tail is that of a chi-squared variable with k - 1 degrees of freedom,
    scaled to meet the last quantile; at 1e-8 it is within a factor of 3 or so.

    With two clusters, or with an event or two a cluster, the divergence takes few values, and other ones
    at each count. A p-value between two counts of the grid is rough then, and mostly too large.
    """

    def __init__(self, baseline_counts: NDArray[np.int64], inflation: float) -> None:
        """Take the baseline; nothing is simulated yet.

        Args:
            baseline_counts: (k,) int64, the baseline's histogram: two clusters or more, some of which
                may be empty.
            inflation: The over-dispersion of the counts, 1 for independent events, never less.

        Raises:
            ValueError: There are fewer than two clusters, no events, or less dispersion than independent
                events have.
        """
        if len(baseline_counts) < 2 or not baseline_counts.sum():  # noqa: PLR2004
            message = "a histogram needs two clusters and an event for its divergence to vary"
            raise ValueError(message)
        if inflation < 1:
            message = f"an over-dispersion of {inflation} is less than that of independent events"
            raise ValueError(message)
        self._baseline_counts = baseline_counts
        self._inflation = inflation
        self._baseline_count = float(baseline_counts.sum()) / inflation
        self._degrees = len(baseline_counts) - 1
        self._simulated: dict[int, _Simulated] = {}

    def expected(self, count: int) -> float:
        """Return E[JSD] of windows of this many events, at least 1, without drift; base 2."""
        lower, upper, share = self._around(count)
        return ((1 - share) * lower.mean + share * upper.mean) / self._scale(count)

    def p_value(self, js_divergence: float, count: int) -> float:
        """Return how probable a divergence this large or larger is without drift, above 0 and at most 1.

        It never rises with the divergence.

        Args:
            js_divergence: Of the window from the baseline, base 2.
            count: n, the window's events, at least 1.
        """
        lower, upper, share = self._around(count)
        quantiles = (1 - share) * lower.quantiles + share * upper.quantiles
        statistic = js_divergence * self._scale(count) + TOLERANCE
        place = int(np.searchsorted(quantiles, statistic, side="right"))
        if place == 0:
            return 1.0
        if place == len(LEVELS):
            stretch = chdtri(self._degrees, LEAST_LEVEL) / quantiles[-1]
            return max(float(chdtrc(self._degrees, stretch * statistic)), LEAST_P_VALUE)
        way = (statistic - quantiles[place - 1]) / (quantiles[place] - quantiles[place - 1])
        return float(LEVELS[place - 1] ** (1 - way) * LEVELS[place] ** way)

    def _effective(self, count: int) -> float:
        return max(count / self._inflation, 1.0)

    def _scale(self, count: int) -> float:
        """Return the factor that makes a base-2 divergence nearly chi-squared."""
        return 8 * math.log(2) / (1 / self._effective(count) + 1 / self._baseline_count)

    def _around(self, count: int) -> tuple[_Simulated, _Simulated, float]:
        """Return what was simulated below and above a count, and how far from the one to the other it is."""
        effective = self._effective(count)
        step = 2 ** max(math.frexp(effective)[1] - GRID_DIGITS, 0)
        lower = int(effective // step) * step
        if effective == lower:
            return self._at(lower), self._at(lower), 0.0
        upper = lower + step
        return self._at(lower), self._at(upper), math.log(effective / lower) / math.log(upper / lower)

    def _at(self, count: int) -> _Simulated:
        if count not in self._simulated:
            self._simulated[count] = _simulate(self._baseline_counts, self._inflation, count)
        return self._simulated[count]


def _simulate(baseline_counts: NDArray[np.int64], inflation: float, count: int) -> _Simulated:
    clusters = len(baseline_counts)
    baseline_count = baseline_counts.sum() / inflation
    null = baseline_counts / inflation + PRIOR
    # A window's share differs from the baseline's with a variance in proportion to 1/n + 1/m: here m is
    # made so much less that the variance is this many times larger.
    spreads = chdtri(clusters - 1, TAIL_LEVELS) / (clusters - 1)
    wider = [null / (spread + (spread - 1) * baseline_count / count) for spread in spreads]
    terms = _Terms(baseline_counts / baseline_counts.sum(), count, null, wider)
    random = np.random.default_rng([*baseline_counts.tolist(), count])
    divergences, *log_ratios = np.concatenate(
        [
            terms.sums(random.multinomial(count, random.dirichlet(concentrations, DRAWS)))
            for concentrations in (null, *wider)
        ],
        axis=1,
    )
    # The null's density over the mixture's, but for a factor.
    weights = np.exp(-np.logaddexp.reduce([np.zeros_like(divergences), *log_ratios]))
    statistics = divergences * 8 / (1 / count + 1 / baseline_count)
    return _Simulated(
        mean=float(np.average(statistics, weights=weights)),
        quantiles=_quantiles(statistics, weights, clusters - 1),
    )


class _Terms:
    """What each cluster adds to a window's divergence, and to its log-densities less that of the null."""

    def __init__(
        self,
        baseline_shares: NDArray[np.float64],
        count: int,
        null: NDArray[np.float64],
        wider: list[NDArray[np.float64]],
    ) -> None:
        self._baseline_shares = baseline_shares
        self._count = count
        self._null = null
        self._wider = wider
        # Fewer counts are possible than are drawn: each is worked out once.
        self._table = self._of(np.arange(count + 1)[:, None]) if count < DRAWS else None

    def sums(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (1 + wider, draws) float64 of (draws, k) counts: divergences in nats, and log-ratios."""
        if self._table is None:
            sums: NDArray[np.float64] = self._of(counts).sum(axis=2)
            return sums
        clusters = counts.shape[1]
        places = counts * clusters + np.arange(clusters)
        return np.stack([table.ravel()[places].sum(axis=1) for table in self._table])

    def _of(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the terms of each cell, (1 + wider, rows, k), for counts (rows, k) or (rows, 1)."""
        shares = counts / self._count
        mean = (shares + self._baseline_shares) / 2
        divergence = (rel_entr(shares, mean) + rel_entr(self._baseline_shares, mean)) / 2
        null = self._log_density(counts, self._null)
        ratios = [self._log_density(counts, concentrations) - null for concentrations in self._wider]
        terms: NDArray[np.float64] = np.stack([divergence, *ratios])
        return terms

    def _log_density(
        self, counts: NDArray[np.int64], concentrations: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the terms of the Dirichlet-multinomial log-density, but for what the counts alone add."""
        total = concentrations.sum()
        each = (gammaln(total) - gammaln(self._count + total)) / len(concentrations)
        terms: NDArray[np.float64] = gammaln(counts + concentrations) - gammaln(concentrations) + each
        return terms


def _quantiles(
    statistics: NDArray[np.float64], weights: NDArray[np.float64], degrees: int
) -> NDArray[np.float64]:
    """Return the quantiles at LEVELS of the statistics, (draws,) float64 and in any order."""
    rounded = statistics.round(9)
    order = np.argsort(rounded)
    values = rounded[order]
    # How probable each value or a larger one is: the same for equal values.
    reached = np.cumsum(weights[order][::-1])[::-1][np.searchsorted(values, values)]
    reached /= reached[0]
    place = np.searchsorted(-reached, -LEVELS)
    # The largest divergence of a few events is not rare. Between counts some value beyond it may be
    # asked for, and must have quantiles to lie between.
    beyond = values[-1] + chdtri(degrees, LEVELS) - chdtri(degrees, reached[-1])
    quantiles: NDArray[np.float64] = np.where(
        place < len(values), values[np.minimum(place, len(values) - 1)], beyond
    )
    return quantiles
