"""Catalogue of all exported metrics: the only source of names, labels, help texts and stream values."""

from collections.abc import Mapping

from driftgauge.telemetry.metric import Metric
from driftgauge.telemetry.replica_metrics import REPLICA_METRICS
from driftgauge.telemetry.stream_metrics import BASELINE_METRICS, LIMIT_METRICS, TOTAL_METRICS
from driftgauge.telemetry.window_metrics import WINDOW_METRICS

__all__ = ["METRICS"]

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (*TOTAL_METRICS, *WINDOW_METRICS, *LIMIT_METRICS, *BASELINE_METRICS, *REPLICA_METRICS)
}
