"""The evidence of drift by kind: which of a window's tests see it, and what their findings come from.

A test does not name a kind by itself: a change of mix moves the mean, events that move change the mix,
and outliers do both and spread the events. So the evidence of mean and divergence is that of novelty
if the change of spread comes mostly from few events, if the shift is too small to have made most of the
outliers, or if events lie further out in all directions but the components; else that of a
change of mix if the clusters' shares explain the shift; else that of a shift. If the mean along the leading
components has moved, so has that along the minor ones. The evidence of spread and outliers is that of novelty
as far as the change of spread comes from few events, which typical ones do not share.

A repeated item moves the mean and changes mix, spread and relations, but none of these repeats an item. So if
duplicates are seen, of all other evidence as much is theirs as one item of their share can cause.

What moves the mean or repeats an item changes relations too, but does not show there alone: as much of such
evidence is explained as the cause's own test has. The evidence of every other statistic is that of its own
kind.

Evidence is the square of a test's normal quantile, about -2 ln p. The tails of all but divergence and
mean are heavier by the clean windows, which would make them weak beside these two: their quantiles are
Student's with as many degrees of freedom.
"""

import math
from collections.abc import Iterable, Mapping

import numpy as np

from driftgauge.core.counting.hashing import SIGN_BINS
from driftgauge.core.counting.tally import Tally
from driftgauge.core.reference import Reference
from driftgauge.core.statistics import registry, special
from driftgauge.core.statistics.divergence import DIVERGENCE
from driftgauge.core.statistics.duplicates import DUPLICATES, HASH_COUNTS
from driftgauge.core.statistics.mean_shift import CLIPPED_COORDINATE_SUMS, MEAN_SHIFT
from driftgauge.core.statistics.minor_shift import MINOR_SHIFT
from driftgauge.core.statistics.novelty import NOVELTY, RADIUS_LEVEL
from driftgauge.core.statistics.nulls.tails import student_quantile
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.relations import RELATIONS
from driftgauge.core.statistics.spread import SPREAD, Spread, SpreadChange
from driftgauge.core.statistics.statistic import Findings

__all__ = ["attribute_evidence"]

# The shift of the mean counts as a change of mix if the clusters' shares explain this much of it. On
# images and texts they explain nearly all of it if a class was doubled, and a third if images were
# blurred; of heavy tails nearly half of a shift.
_EXPLAINED = 0.5

# Below this p-value a test by itself has seen something.
_SEEN = 0.01
# A change of spread that comes from few events by this share is theirs.
_MOSTLY = 0.5
# What moves the mean may show in relations with so many times the evidence: a shift by half a deviation of
# all events is one by two deviations around the mean of a cluster.
_IN_RELATIONS = 2.0
# One repeated item lies at most this many times as far from the mean, squared, as events on average; hardly
# any event lies further.
_FAR = 3.0
_MIX = DIVERGENCE.kind
_NO_CHANGE = SpreadChange(change=0.0, excess=0.0, p_value=1.0)
# For a baseline that has no arrays for it.
_NO_SPREAD = Spread(None, None, None)


def attribute_evidence(
    tally: Tally, findings: Findings, reference: Reference, overdispersion: Overdispersion
) -> dict[str, float]:
    """Return the share of each kind in the evidence of one window, 0 to 1; the shares sum to 1.

    Args:
        tally: The window's tally.
        findings: Its findings.
        reference: The baseline.
        overdispersion: The overdispersion of the difference.
    """
    spread = findings.of(SPREAD) if SPREAD.name in findings else _NO_SPREAD
    changes = [change for change in spread.tests if change is not None]
    change = min(changes, key=lambda each: each.p_value, default=_NO_CHANGE)
    from_few = _share_of_few(findings, spread, change, len(reference.mean))
    strengths = {
        name: _strength(name, finding.p_values, overdispersion.windows) for name, finding in findings.items()
    }
    has_moved, of_mean = min(findings.of(MEAN_SHIFT).p_values) < _SEEN, MEAN_SHIFT.kind
    if _is_novel(findings, spread, reference, are_far=change.p_value < _SEEN and from_few >= _MOSTLY):
        # Events where the baseline has none also move the mean, and come at the cost of all clusters.
        has_moved, of_mean = True, NOVELTY.kind
    elif _explained(tally, reference, overdispersion) >= _EXPLAINED:
        of_mean = _MIX
    kinds = {each.name: {each.kind: 1.0} for each in registry.STATISTICS}
    kinds[MEAN_SHIFT.name] = {of_mean: 1.0}
    kinds[DIVERGENCE.name] = {of_mean if has_moved else _MIX: 1.0}
    if has_moved:
        kinds[MINOR_SHIFT.name] = {of_mean: 1.0}
    if has_moved and RELATIONS.name in findings:
        # What moves the mean changes products of coordinates too, but is seen by the mean first.
        of_shift = _explained_share(_IN_RELATIONS * strengths[MEAN_SHIFT.name], strengths[RELATIONS.name])
        kinds[RELATIONS.name] = {of_mean: of_shift, RELATIONS.kind: 1 - of_shift}
    if change.p_value < _SEEN:
        # If all events lie further out, more of them lie beyond the radius.
        both = {NOVELTY.kind: from_few, SPREAD.kind: 1 - from_few}
        kinds |= {NOVELTY.name: both, SPREAD.name: both}
    items = _shares_of_item(findings, strengths, reference, change, has_moved=has_moved)
    sums = dict.fromkeys((each.kind for each in registry.STATISTICS), 0.0)
    for name, strength in strengths.items():
        item = items.get(name, 0.0)
        sums[DUPLICATES.kind] += item * strength
        for kind, share in kinds[name].items():
            sums[kind] += share * (1 - item) * strength
    total = math.fsum(sums.values())
    return {kind: each / total if total else 1 / len(sums) for kind, each in sums.items()}


def _share_of_few(findings: Findings, spread: Spread, change: SpreadChange, components: int) -> float:
    """Return the share of a change of spread that comes from few far events, 0 to 1.

    Few of them hardly change the distance of typical events, which is known along the components. If only the
    rest of the spread grows, the change is theirs if the same change of all events would put too few of them
    beyond the radius.
    """
    whole, typical, novelty = spread.components, spread.typical, findings.of(NOVELTY)
    if change.change <= 0 or typical is None:
        return 0.0
    if whole is not None and whole.change > 0 and whole.p_value < _SEEN:
        return min(max(1 - typical.change / whole.change, 0.0), 1.0)
    of_all = _outliers_of_shift(change.change * components, components)
    return float(novelty.p_value < _SEEN and of_all < _MOSTLY * novelty.excess)


def _is_novel(findings: Findings, spread: Spread, reference: Reference, *, are_far: bool) -> bool:
    """Return whether events lie where the baseline has none: far ones make most of the change of spread."""
    novelty, components = findings.of(NOVELTY), len(reference.mean)
    are_more = _outliers_of_shift(findings.of(MEAN_SHIFT).excess, components) < _MOSTLY * novelty.excess
    return _is_outside(spread) or (novelty.p_value < _SEEN and (are_far or are_more))


def _shares_of_item(
    findings: Findings,
    strengths: Mapping[str, float],
    reference: Reference,
    change: SpreadChange,
    *,
    has_moved: bool,
) -> dict[str, float]:
    """Return the share of each statistic's evidence that one repeated item can cause, 0 to 1."""
    duplicates = findings.of(DUPLICATES) if DUPLICATES.name in findings else None
    if duplicates is None or duplicates.p_value >= _SEEN:
        return {}
    novelty, has_sign_hashes = findings.of(NOVELTY), len(reference.arrays[HASH_COUNTS]) == SIGN_BINS
    if has_sign_hashes and novelty.p_value < _SEEN and novelty.excess >= duplicates.share:
        # Texts of a new topic are alike as well.
        return {}
    share, mean_shift = duplicates.share, findings.of(MEAN_SHIFT).excess
    of_mean = _explained_share(_FAR * len(reference.mean) * share**2, mean_shift)
    shares = {
        # An item that changes the mix moves the mean as well.
        DIVERGENCE.name: of_mean if has_moved else 0.0,
        MEAN_SHIFT.name: of_mean,
        NOVELTY.name: _explained_share(share, findings.of(NOVELTY).excess),
        SPREAD.name: _explained_share(_FAR * share, abs(change.change)),
        MINOR_SHIFT.name: of_mean,
        RELATIONS.name: 1.0,
    }
    return {
        name: each
        if name in {NOVELTY.name, SPREAD.name}
        else each * _explained_share(strengths[DUPLICATES.name], strengths[name])
        for name, each in shares.items()
        if name in strengths
    }


def _strength(name: str, p_values: Iterable[float | None], windows: float) -> float:
    """Return the evidence of a statistic by its strongest test; W windows measured the overdispersion."""
    p_value = min((each for each in p_values if each is not None), default=1.0)
    known = math.inf if name in {DIVERGENCE.name, MEAN_SHIFT.name} else windows
    return max(-student_quantile(p_value, known), 0.0) ** 2


def _explained(tally: Tally, reference: Reference, overdispersion: Overdispersion) -> float:
    """Return the share of the squared shift that the clusters' shares explain, both less noise."""
    count, shift = tally.count, reference.projection.shift(tally[CLIPPED_COORDINATE_SUMS], tally.count)
    shift = shift - reference.mean
    shares, deviations = reference.counts / reference.counts.sum(), reference.projection.deviations
    cluster_means, standardized = reference.cluster_means / deviations, shift / deviations
    between = float(shares @ np.square(cluster_means).sum(axis=1))
    # The variance of a mean times its count, summed over the components: of events, and within clusters.
    of_events = overdispersion.of_mean
    within = max(1 - between / len(deviations), 0.0) * of_events
    noise = 1 / count + 1 / reference.mean_count
    left = standardized - (tally.counts / count - shares) @ cluster_means
    whole = float(standardized @ standardized) - of_events * noise
    unexplained = float(left @ left) - within * noise
    return 1 - unexplained / whole if whole > 0 else 0.0


def _is_outside(spread: Spread) -> bool:
    """Return whether events lie further out in all directions but the components, and not along these."""
    components, residual = spread.components, spread.residual
    if residual is None or residual.p_value >= _SEEN or residual.change <= 0:
        return False
    return components is None or components.change < _MOSTLY * residual.change


def _outliers_of_shift(mean_shift: float, components: int) -> float:
    """Return the share of normal events that a shift of all moves beyond the radius.

    A shift of this squared length along r components adds it to squared distances, whose deviation is
    sqrt(2 r).
    """
    beyond = 1 - RADIUS_LEVEL
    return max(
        float(special.ndtr(mean_shift / math.sqrt(2 * components) + special.ndtri(beyond))) - beyond, 0.0
    )


def _explained_share(cause: float, effect: float) -> float:
    """Return the share of an effect that a cause of 0 or more explains, 0 to 1."""
    return min(cause / effect, 1.0) if cause < effect else float(cause > 0)
