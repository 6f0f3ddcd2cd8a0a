"""Metric families as the catalogue describes them, for what is collected at the time of a scrape."""

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from driftgauge.telemetry.catalogue import METRICS

__all__ = ["counter_family", "gauge_family"]


def gauge_family(name: str) -> GaugeMetricFamily:
    """Return a gauge of this name, without samples."""
    metric = METRICS[name]
    return GaugeMetricFamily(metric.name, metric.documentation, labels=metric.labels)


def counter_family(name: str) -> CounterMetricFamily:
    """Return a counter of this name, without samples."""
    metric = METRICS[name]
    return CounterMetricFamily(metric.name, metric.documentation, labels=metric.labels)
