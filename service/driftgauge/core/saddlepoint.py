"""The tail of a sum over cells of independent variables, given another sum over them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

__all__ = ["conditional_tail"]

# Three to six steps are taken, mostly; halvings are rare.
_MAX_STEPS = 30
_MAX_HALVINGS = 6
# Of the log-probability: how far from the saddlepoint it may end (close to the mean the formula is a
# difference of large numbers, and a millionth of a standard deviation would show), what rounding may add on
# the way, what it may leave of none, and how far off there is no saddlepoint.
_TOLERANCE = 1e-20
_ROUNDING = 1e-8
_ROUNDED = 1e-12
_OFF = 1e-6
# Closer than this Newton's whole step is taken.
_NEAR = 0.1
# And where a tail, or all but a tail, has no float of its own: what is out of reach has no saddlepoint.
_DEEPEST = 1_000.0

# Closer to the mean, in standard deviations, the formula is 0/0.
_NEAR_MEAN = 1e-3

# Below the mean, where so much less varies than at it, is the least that the values may sum to.
_LEAST_VARIANCE = 1e-4

# A matrix is kept from being singular, where hardly anything varies.
_RIDGE = 1e-12
_RIDGES = np.array([[_RIDGE], [0.0], [_RIDGE]])


def conditional_tail(
    log_weights: NDArray[np.float64],
    values: NDArray[np.float64],
    places: NDArray[np.float64],
    value: float,
    total: float,
) -> NDArray[np.float64]:
    """Return the probability that the values sum to so much or more, given what the places sum to.

    In each of k cells there is an independent variable with p possible states, each of which has a
    value and a place. It is the double saddlepoint approximation (I. M. Skovgaard, Saddlepoint
    expansions for conditional distributions, Journal of Applied Probability 24, 1987): the cells are
    tilted until value and total are what they are expected to sum to. It takes the sum of the values
    for continuous.

    Args:
        log_weights: (k, a, p) float64, the log-probabilities of the states, but for a constant each, of
            a distributions; minus infinity for what is not possible.
        values: (k, p) float64, the value of each state; finite.
        places: (k, p) float64, its place; finite.
        value: What the values are to sum to at least.
        total: What the places sum to, between the least and the most that is possible.

    Returns:
        The a probabilities, (a,) float64.
    """
    cells = _Cells.of(log_weights, values, places)
    # Given the total alone, which is in the middle or close to it.
    level = _solve(cells, np.zeros((log_weights.shape[1], 2)), np.array([0.0, total]), free=1)
    distance = value - level.means[:, 0]
    nearest = _NEAR_MEAN * np.sqrt(level.conditional_variance)
    aims = level.means[:, 0] + np.copysign(np.maximum(np.abs(distance), nearest), distance)
    targets = np.stack([aims, np.full(len(aims), total)], axis=1)
    # Where a chi-squared variable of this mean has its saddlepoint, as the divergence nearly is one.
    start = np.stack([(1 - level.means[:, 0] / aims) / 2, level.tilts[:, 1]], axis=1)
    tilted = _solve(cells, start, targets, free=2)
    log_ratio = (tilted.tilts * targets).sum(axis=1) - tilted.cumulants
    log_ratio -= level.tilts[:, 1] * total - level.cumulants
    w = np.copysign(np.sqrt(2 * np.maximum(log_ratio, _ROUNDED)), distance)
    u = tilted.tilts[:, 0] * np.sqrt(tilted.determinant / level.variances[2])
    density = np.exp(-np.square(w) / 2) / np.sqrt(2 * np.pi)
    tail = np.clip(ndtr(-w) + density * (1 / u - 1 / w), 0.0, 1.0)
    # The least that is possible, or less, has no saddlepoint.
    is_least = tilted.conditional_variance < _LEAST_VARIANCE * level.conditional_variance
    is_less = tilted.decrement(targets, tilted.newton(targets, free=2)) > _OFF
    return np.where((is_least | is_less) & (distance < 0), 1.0, tail)


@dataclass(frozen=True, slots=True)
class _Tilted:
    """The cells, tilted.

    Attributes:
        tilts: (a, 2) float64, the factors of value and place in the exponent.
        cumulants: (a,) float64, the cumulant generating function there.
        means: (a, 2) float64, what values and places sum to on average.
        variances: (3, a) float64, the variance of the sum of values, their covariance, that of places.
    """

    tilts: NDArray[np.float64]
    cumulants: NDArray[np.float64]
    means: NDArray[np.float64]
    variances: NDArray[np.float64]

    @property
    def determinant(self) -> NDArray[np.float64]:
        """Of the covariance, (a,) float64."""
        value, cross, place = self.variances
        # Where next to nothing varies, rounding may leave less than that.
        determinant: NDArray[np.float64] = np.maximum(value * place - cross * cross, _RIDGE * _RIDGE)
        return determinant

    @property
    def conditional_variance(self) -> NDArray[np.float64]:
        """Of the sum of values, given that of places, (a,) float64."""
        conditional: NDArray[np.float64] = self.determinant / self.variances[2]
        return conditional

    def decrement(self, targets: NDArray[np.float64], steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return twice what Newton's steps take off the function, to second order, (a,) float64."""
        decrement: NDArray[np.float64] = ((self.means - targets) * steps).sum(axis=1)
        return np.maximum(decrement, 0.0)

    def newton(self, targets: NDArray[np.float64], free: int) -> NDArray[np.float64]:
        """Return by how much the tilts are too large, to first order, (a, 2) float64; see `_solve`."""
        by_value, by_place = (self.means - targets).T
        value, cross, place = self.variances
        if free == 1:
            return np.stack([np.zeros_like(by_place), by_place / place], axis=1)
        steps = [place * by_value - cross * by_place, value * by_place - cross * by_value]
        both: NDArray[np.float64] = np.stack(steps, axis=1)
        return both / self.determinant[:, None]


@dataclass(frozen=True, slots=True)
class _Cells:
    """The cells as they are.

    Attributes:
        log_weights: (k, a, p) float64.
        states: (k, 2, p) float64, value and place of each state, less those of the cell's middle.
        moments: (k, 6, p) float64, 1, value, place, and their products.
        middles: (2,) float64, what was taken off values and places, summed over the cells.
    """

    log_weights: NDArray[np.float64]
    states: NDArray[np.float64]
    moments: NDArray[np.float64]
    middles: NDArray[np.float64]

    @classmethod
    def of(
        cls, log_weights: NDArray[np.float64], values: NDArray[np.float64], places: NDArray[np.float64]
    ) -> "_Cells":
        """Return the cells with log-weights that sum to a probability of 1."""
        top = log_weights.max(axis=2, keepdims=True)
        weights = np.exp(log_weights - top)
        totals = weights.sum(axis=2, keepdims=True)
        moments = np.empty((len(values), 6, values.shape[1]))
        moments[:, 0] = 1.0
        moments[:, 1], moments[:, 2] = values, places
        # Variances are differences of squares: without what all states share these are small.
        middles = moments[:, 1:3] @ (weights[:, 0] / totals[:, 0])[:, :, None]
        moments[:, 1:3] -= middles
        moments[:, 3:5] = moments[:, 1:2] * moments[:, 1:3]
        moments[:, 5] = np.square(moments[:, 2])
        return cls(log_weights - top - np.log(totals), moments[:, 1:3], moments, middles[:, :, 0].sum(axis=0))

    def tilt(self, tilts: NDArray[np.float64]) -> _Tilted:
        """Return the cells with each state's weight times exp(tilt of value and place)."""
        exponents = tilts @ self.states
        exponents += self.log_weights
        top = exponents.max(axis=2)
        exponents -= top[:, :, None]
        sums = np.exp(exponents, out=exponents) @ self.moments.swapaxes(1, 2)
        expected = sums[:, :, 1:] / sums[:, :, :1]
        means = expected[:, :, :2]
        expected[:, :, 2:4] -= means[:, :, :1] * means
        expected[:, :, 4] -= np.square(means[:, :, 1])
        totals = expected.sum(axis=0)
        return _Tilted(
            tilts,
            (np.log(sums[:, :, 0]) + top).sum(axis=0) + tilts @ self.middles,
            totals[:, :2] + self.middles,
            totals[:, 2:].T + _RIDGES,
        )


def _solve(cells: _Cells, tilts: NDArray[np.float64], targets: NDArray[np.float64], *, free: int) -> _Tilted:
    """Return the cells tilted so that their means are the targets: Newton's method on a convex function.

    Args:
        cells: The cells.
        tilts: (a, 2) float64, where to begin.
        targets: (a, 2) or (2,) float64, what values and places are to sum to.
        free: 2; or 1 for the places alone, without a tilt of the values.
    """
    here = cells.tilt(tilts)
    for _ in range(_MAX_STEPS):
        steps = here.newton(targets, free)
        height = here.cumulants - (here.tilts * targets).sum(axis=1)
        decrement = here.decrement(targets, steps)
        is_there = (height < -_DEEPEST) | (decrement < _TOLERANCE)
        if is_there.all():
            break
        steps[is_there] = 0.0
        # Far away, where the function is steep, a whole step may lead further away.
        sizes = np.where(decrement > _NEAR, 1 / (1 + np.sqrt(decrement)), 1.0)[:, None]
        for _ in range(_MAX_HALVINGS):
            there = cells.tilt(here.tilts - sizes * steps)
            is_higher = ~(there.cumulants - (there.tilts * targets).sum(axis=1) <= height + _ROUNDING)
            if not is_higher.any():
                break
            sizes[is_higher] /= 2
        else:
            sizes[is_higher] = 0.0
            if not (sizes * steps).any():
                break
            there = cells.tilt(here.tilts - sizes * steps)
        here = there
    return here
