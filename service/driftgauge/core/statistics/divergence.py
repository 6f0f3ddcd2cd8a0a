"""Jensen-Shannon divergence of two cluster histograms, by cluster."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["js_contributions"]


def js_contributions(counts: NDArray[np.int64], baseline_counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each cluster's contribution to the base-2 Jensen-Shannon divergence, (k,) float64.

    With p and q the two histograms as shares and m their mean, cluster i contributes
    (p_i log2(p_i / m_i) + q_i log2(q_i / m_i)) / 2, which is never negative (log-sum inequality);
    0 log 0 is 0. The contributions sum to the divergence, which lies between 0 and 1. The Jensen-Shannon
    distance is the square root of the divergence.

    Source: J. Lin, Divergence measures based on the Shannon entropy, IEEE Transactions on
    Information Theory 37(1), 1991.

    Args:
        counts: (k,) int64, the window's histogram, at least one event.
        baseline_counts: (k,) int64, the baseline's histogram, at least one event.

    Raises:
        ValueError: The histograms differ in length, or one of them is empty.
    """
    if counts.shape != baseline_counts.shape:
        message = f"the histograms have {counts.shape} and {baseline_counts.shape} clusters"
        raise ValueError(message)
    if counts.sum() == 0 or baseline_counts.sum() == 0:
        message = "a histogram without events has no divergence"
        raise ValueError(message)
    shares = counts / counts.sum()
    baseline_shares = baseline_counts / baseline_counts.sum()
    mean = (shares + baseline_shares) / 2
    terms = (_relative_entropy(shares, mean) + _relative_entropy(baseline_shares, mean)) / 2
    # Rounding can leave a term slightly below zero where both shares are equal.
    return np.maximum(terms, 0.0)


def _relative_entropy(shares: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    # scipy.special.rel_entr over ln 2 differs in the last bits, and published results must replay to the bit.
    present = shares > 0
    ratio = np.divide(shares, mean, out=np.ones_like(shares), where=present)
    return shares * np.log2(ratio)
