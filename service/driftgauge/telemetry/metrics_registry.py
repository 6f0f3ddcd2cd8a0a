"""Prometheus registry without `_created` series, separate from prometheus_client's global one."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric

__all__ = ["MetricsRegistry"]


class MetricsRegistry(CollectorRegistry):
    """A registry without the `_created` series that prometheus_client adds to counters and histograms.

    prometheus_client's own switch for these series applies to the whole process.
    """

    def collect(self) -> Iterator[Metric]:
        """Yield the families of all collectors, without `_created` samples."""
        for family in super().collect():
            if family.type in {"counter", "histogram"}:
                created = f"{family.name}_created"
                family.samples = [sample for sample in family.samples if sample.name != created]
            yield family
