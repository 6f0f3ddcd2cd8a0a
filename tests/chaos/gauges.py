"""Checks the replicas' gauges of the newest windows against the published results."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from deploy.demo.scrape import Scrape

from tests.chaos.checks import Check, field_at
from tests.chaos.expected_counts import WindowKey
from tests.chaos.results import PublishedRevision, newest_results
from tests.integration.gauges import signed_contribution

Series = tuple[str, tuple[tuple[str, str], ...]]
"""A metric's name and its labels, as sorted pairs."""

# The gauges of a window, each with the path of the result's field that it shows.
WINDOW_GAUGES = {
    "driftgauge_window_events": "count",
    "driftgauge_window_revision": "revision",
    "driftgauge_window_js_divergence": "js_divergence",
    "driftgauge_window_js_distance": "js_distance",
    "driftgauge_window_noise_floor": "noise_floor",
    "driftgauge_window_js_excess": "js_excess",
    "driftgauge_window_js_p_value": "js_p_value",
    "driftgauge_window_mean_shift_t2": "mean_shift.t2",
    "driftgauge_window_mean_shift_excess": "mean_shift.excess",
    "driftgauge_window_mean_shift_p_value": "mean_shift.p_value",
    "driftgauge_window_centroid_distance": "mean_shift.centroid_distance",
    "driftgauge_window_centroid_p_value": "mean_shift.centroid_p_value",
    "driftgauge_window_p_value": "p_value",
    "driftgauge_window_calibrated": "calibrated",
    "driftgauge_window_novelty_ratio": "novelty",
    "driftgauge_window_novelty_excess_ratio": "novelty_excess",
    "driftgauge_window_novelty_p_value": "novelty_p_value",
    "driftgauge_window_duplicates_ratio": "duplicates.share",
    "driftgauge_window_duplicates_p_value": "duplicates.p_value",
    "driftgauge_window_slow_drift": "slow_drift.statistic",
}
CLUSTER_RATIO = "driftgauge_window_cluster_ratio"
CLUSTER_CONTRIBUTION = "driftgauge_window_cluster_signed_js_contribution"
VERDICT = "driftgauge_window_verdict"
WINDOW_END = "driftgauge_window_end_timestamp_seconds"


def check_gauges(scrapes: Mapping[str, Scrape], final: dict[WindowKey, PublishedRevision]) -> Check:
    """Check that exactly one replica shows the newest window of each stream and size, as last published."""
    check = Check("gauges of the streams' owners as published")
    expected = expected_gauges(final)
    names = {*WINDOW_GAUGES, CLUSTER_RATIO, CLUSTER_CONTRIBUTION, VERDICT, WINDOW_END}
    shown: defaultdict[Series, list[float]] = defaultdict(list)
    for scrape in scrapes.values():
        for series, value in scrape.samples.items():
            if series[0] in names:
                shown[series].append(value)
    for series in sorted(expected.keys() | shown.keys()):
        right = [expected[series]] if series in expected else []
        check.compare(f"{series}, by the replicas that show it", shown[series], right)
    return check


def expected_gauges(final: dict[WindowKey, PublishedRevision]) -> dict[Series, float]:
    """Return the samples expected for the newest windows; a field that is null has no series."""
    expected: dict[Series, Any] = {}
    for (stream, window), result in newest_results(final).items():
        labels = (("stream", stream), ("window", window))
        document = result.document
        expected |= {(name, labels): field_at(document, path) for name, path in WINDOW_GAUGES.items()}
        expected[WINDOW_END, labels] = result.end_ms / 1_000
        for verdict in ("ok", "warning", "drift", "insufficient", "incomplete"):
            of_verdict = tuple(sorted((*labels, ("verdict", verdict))))
            expected[VERDICT, of_verdict] = verdict == document["verdict"]
        for cluster in document["clusters"]:
            of_cluster = (("cluster_id", str(cluster["id"])), *labels)
            expected[CLUSTER_RATIO, of_cluster] = cluster["share"]
            expected[CLUSTER_CONTRIBUTION, of_cluster] = signed_contribution(cluster)
    return {series: float(value) for series, value in expected.items() if value is not None}
