"""Catalogue of all exported metrics: the only source of names, labels, help texts and stream values."""

from collections.abc import Mapping

from driftgauge.telemetry.metric import Metric
from driftgauge.telemetry.replica_metrics import REPLICA_METRICS
from driftgauge.telemetry.stream_metrics import SHARD_METRICS, STREAM_METRICS

__all__ = ["METRICS"]

_ALL: tuple[Metric, ...] = (*STREAM_METRICS, *SHARD_METRICS, *REPLICA_METRICS)
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}
