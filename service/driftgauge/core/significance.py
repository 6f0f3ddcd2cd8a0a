"""How large a divergence is when nothing has drifted."""

import math

__all__ = ["noise_floor"]


def noise_floor(clusters: int, count: int, baseline_count: int) -> float:
    """Return the Jensen-Shannon divergence to expect without any drift, base 2, 0 or more.

    E[JSD] is about (k - 1) / (8 ln 2) * (1/n + 1/m) for independent events (second-order
    expansion, in which 8 ln 2 * nm/(n+m) * JSD is chi-squared with k - 1 degrees of freedom).
    It is some per cent low where clusters hold few events, and too low where events come in
    related bursts.

    Args:
        clusters: k, the number of clusters.
        count: n, the window's events, at least 1.
        baseline_count: m, the events behind the baseline's histogram, at least 1.
    """
    return (clusters - 1) / (8 * math.log(2)) * (1 / count + 1 / baseline_count)
