"""How large a divergence is when nothing has drifted, and how rare a larger one."""

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.approximated import Approximated
from driftgauge.core.concentration import concentrations
from driftgauge.core.listed import Listed, histograms_of

__all__ = ["CountNull", "WindowNull", "noise_floor"]


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


class WindowNull(Protocol):
    """The distribution of the divergence of windows of one count while nothing drifts."""

    expected: float
    """E[JSD], base 2."""

    def p_value(self, js_divergence: float) -> float:
        """Return how probable a base-2 divergence this large or larger is, above 0 and at most 1."""


class CountNull:
    """The distribution of the divergence between a window and a baseline while nothing drifts.

    It is the posterior predictive one: the true shares are Dirichlet (the baseline's counts plus a
    concentration, of which the counts tell as well: see `concentrations`), a window is multinomial with
    them, and is compared with the baseline's histogram. So the baseline's own sampling is part of the
    noise. It holds its level on average over baselines, not for each of them: a baseline that by chance
    lies far from the truth alarms more often than one close to it.

    Over-dispersion divides the counts, the window's and the baseline's (Rao and Scott's correction of
    the first order, Journal of the American Statistical Association 76, 1981).

    Nothing is simulated, so the same window has the same answer in every process. Where few histograms
    are possible, or all but few are far from what is to be expected, or there are two clusters, they are
    looked at; otherwise the tail is a saddlepoint approximation.
    """

    def __init__(self, baseline_counts: NDArray[np.int64], inflation: float) -> None:
        """Take the baseline.

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
        self._shares = baseline_counts / baseline_counts.sum()
        self._inflation = inflation
        effective = baseline_counts / inflation
        self._baseline_count = float(effective.sum())
        grid, self._probabilities = concentrations(effective)
        self._parameters: NDArray[np.float64] = effective + grid[:, None]

    def at(self, count: int) -> WindowNull:
        """Return the distribution for windows of so many events, at least 1."""
        effective = max(count / self._inflation, 1.0)
        windows = histograms_of(self._parameters, int(effective))
        if windows is not None:
            return Listed(self._shares, self._parameters, self._probabilities, int(effective), windows)
        return Approximated(
            self._shares, self._parameters, self._probabilities, effective, self._baseline_count
        )
