"""Where the metrics are held, apart from prometheus_client's global registry."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric

__all__ = ["Registry"]


class Registry(CollectorRegistry):
    """A registry without the `_created` series that each counter and histogram would add.

    prometheus_client's own switch for them is one per process.
    """

    def collect(self) -> Iterator[Metric]:
        """Yield the families of every collector, without those series."""
        for family in super().collect():
            if family.type in {"counter", "histogram"}:
                created = f"{family.name}_created"
                family.samples = [sample for sample in family.samples if sample.name != created]
            yield family
