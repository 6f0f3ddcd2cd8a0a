"""Metrics of the newest closed window's score: its statistics and their p-values."""

from collections.abc import Callable

from driftgauge.core.statistics.spread import SpreadChange
from driftgauge.telemetry.metric import Metric, Samples, score_metric
from driftgauge.telemetry.snapshot import StreamView

__all__ = ["SCORE_METRICS"]

_SPREAD_PARTS = ("components", "residual")


def _spreads(view: StreamView, value_of: Callable[[SpreadChange], float]) -> Samples:
    for window, result in view.newest():
        if result.score is not None:
            for part, change in zip(_SPREAD_PARTS, result.score.spread.changes, strict=True):
                yield (window, part), None if change is None else value_of(change)


SCORE_METRICS = (
    score_metric(
        "driftgauge_window_js_divergence",
        "none, 0 to 1",
        "Jensen-Shannon divergence, base 2, between the newest closed window and the baseline. The"
        " divergence, not its square root.",
        lambda score: score.js_divergence,
    ),
    score_metric(
        "driftgauge_window_js_distance",
        "none, 0 to 1",
        "Jensen-Shannon distance, the square root of driftgauge_window_js_divergence.",
        lambda score: score.js_distance,
    ),
    score_metric(
        "driftgauge_window_noise_floor",
        "none, 0 to 1",
        "Expected Jensen-Shannon divergence of a window with this event count and no drift.",
        lambda score: score.noise_floor,
    ),
    score_metric(
        "driftgauge_window_js_excess",
        "none, -1 to 1",
        "driftgauge_window_js_divergence minus driftgauge_window_noise_floor. Negative values are below the"
        " noise.",
        lambda score: score.js_excess,
    ),
    score_metric(
        "driftgauge_window_js_p_value",
        "probability",
        "p-value of the divergence: the probability of a divergence this large without drift.",
        lambda score: score.js_p_value,
    ),
    score_metric(
        "driftgauge_window_mean_shift_t2",
        "none, 0 or more",
        "Hotelling's T2 of the mean shift along the baseline's leading components.",
        lambda score: score.mean_shift.t2,
    ),
    score_metric(
        "driftgauge_window_mean_shift_excess",
        "squared standard deviations",
        "Size of the mean shift: its squared Mahalanobis length minus the expected value without drift."
        " It does not depend on the event count.",
        lambda score: score.mean_shift.excess,
    ),
    score_metric(
        "driftgauge_window_mean_shift_p_value",
        "probability",
        "p-value of T2: the probability of a T2 this large without drift.",
        lambda score: score.mean_shift.p_value,
    ),
    score_metric(
        "driftgauge_window_mean_shift_leading_p_value",
        "probability",
        "p-value of T2 along the leading eight components, where a change of few clusters shows first.",
        lambda score: score.mean_shift.leading_p_value,
    ),
    score_metric(
        "driftgauge_window_centroid_distance",
        "the vectors' own unit",
        "Length of the mean shift along the baseline's leading components.",
        lambda score: score.mean_shift.centroid_distance,
    ),
    score_metric(
        "driftgauge_window_centroid_p_value",
        "probability",
        "p-value of the centroid distance: the probability of a distance this long without drift.",
        lambda score: score.mean_shift.centroid_p_value,
    ),
    score_metric(
        "driftgauge_window_p_value",
        "probability",
        "Combined p-value of the divergence, both T2, the centroid distance, novelty, spread and duplicates."
        " The verdict uses this value.",
        lambda score: score.p_value,
    ),
    score_metric(
        "driftgauge_window_calibrated",
        "1 or 0",
        "1 where the p-values use a measured overdispersion. At 0 the overdispersion is guessed or"
        " unknown, and p-values may be too small where events come in bursts.",
        lambda score: score.calibrated,
    ),
    score_metric(
        "driftgauge_window_novelty_ratio",
        "ratio, 0 to 1",
        "Share of the events beyond the radius of their cluster, within which 99 % of the baseline's vectors"
        " lie. About 0.01 without drift.",
        lambda score: score.novelty.share,
    ),
    score_metric(
        "driftgauge_window_novelty_excess_ratio",
        "ratio, -1 to 1",
        "driftgauge_window_novelty_ratio minus its expectation without drift.",
        lambda score: score.novelty.excess,
    ),
    score_metric(
        "driftgauge_window_novelty_p_value",
        "probability",
        "Combined p-value of the novelty of the whole window and of each cluster: the probability of more"
        " events beyond the radius without drift, and half of that of as many.",
        lambda score: score.novelty.p_value,
    ),
    Metric(
        "driftgauge_window_spread_change_ratio",
        ("stream", "window", "part"),
        "ratio, -1 or more",
        "Mean squared distance of the events from the baseline's mean, over the baseline's, minus 1. Parts:"
        " components (the leading ones), residual (all other directions). Absent where the window was not"
        " scored, or where the baseline has no such part.",
        lambda view: _spreads(view, lambda change: change.change),
    ),
    Metric(
        "driftgauge_window_spread_p_value",
        ("stream", "window", "part"),
        "probability",
        "p-value of the spread: the probability of a change this large without drift. Absent as the change"
        " is.",
        lambda view: _spreads(view, lambda change: change.p_value),
    ),
    score_metric(
        "driftgauge_window_duplicates_ratio",
        "ratio, 0 to 1",
        "Share of the events that one repeated item would be, for as many pairs of equal events above the"
        " baseline's rate. Without drift 0, or by chance about 0.4 over the root of the events.",
        lambda score: score.duplicates.share,
    ),
    score_metric(
        "driftgauge_window_duplicates_p_value",
        "probability",
        "p-value of the duplicates: the probability of as many pairs of equal events without drift.",
        lambda score: score.duplicates.p_value,
    ),
)
