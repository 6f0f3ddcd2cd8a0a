"""How evenly events are spread over clusters: the prior of the clusters' shares."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

__all__ = ["concentrations", "dirichlet_multinomial"]

# Shares found by k-means, k = 5 to 300, on embeddings of images, on handwritten digits and on simulated
# topics were spread like those of a symmetric Dirichlet distribution with a concentration of 1 to 22 a
# cluster, 5 in the middle; those of data without any structure, of 60 and more, which is nearly equal
# shares. Before a baseline is seen, the logarithm of the concentration is taken for Cauchy around the one:
# half of the time within a factor of e, and the other is never ruled out.
_TYPICAL = 5.0

# Factors of two apart: of four apart, a level of 1 % came to be 0.9 %.
_GRID = _TYPICAL * 2.0 ** np.arange(-5, 15)

# What is less probable than this does not change a p-value that matters, which are those down to 1e-4.
_LEAST_PROBABILITY = 1e-5


def concentrations(counts: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what the concentration of the shares' Dirichlet distribution may be, and how probable each is.

    A baseline's histogram tells how spread the shares are, and with two events a cluster it matters what
    is taken for granted of them: under a fixed concentration of 1/2 (Jeffreys' prior) equal shares
    alarm as they should and shares of a concentration of 3 by a fifth too often. So the concentration
    has a prior of its own, and a grid of them is weighed by how probable each makes the histogram
    (I. J. Good, A Bayesian significance test for multinomial distributions, Journal of the Royal
    Statistical Society B 29, 1967).

    Args:
        counts: (k,) float64, the baseline's histogram, overdispersion divided out.

    Returns:
        Concentrations a cluster, (a,) float64, growing, and their probabilities, (a,) float64.
    """
    log_prior = -np.log1p(np.square(np.log(_GRID / _TYPICAL)))
    log_posterior = log_prior + dirichlet_multinomial(
        counts, np.broadcast_to(_GRID[:, None], (len(_GRID), len(counts)))
    )
    posterior = np.exp(log_posterior - log_posterior.max())
    kept = posterior >= _LEAST_PROBABILITY * posterior.sum()
    return _GRID[kept], posterior[kept] / posterior[kept].sum()


def dirichlet_multinomial(
    counts: NDArray[np.float64], parameters: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the log-probability of histograms, (…,) float64, but for what the counts alone add.

    Args:
        counts: (…, k), the histograms.
        parameters: (…, k), those of the Dirichlet distribution of the shares.
    """
    total = parameters.sum(axis=-1)
    log_probability: NDArray[np.float64] = (
        gammaln(total)
        - gammaln(counts.sum(axis=-1) + total)
        + (gammaln(counts + parameters) - gammaln(parameters)).sum(axis=-1)
    )
    return log_probability
