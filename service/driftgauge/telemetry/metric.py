"""Definition of a metric: its name, labels, unit and meaning, and where its values come from."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

__all__ = ["Family", "Metric", "ObjectT", "ObservedMetric", "Samples", "ScrapedMetric"]

Family = GaugeMetricFamily | CounterMetricFamily

Samples = Iterable[tuple[tuple[str, ...], float | None]]
"""Values with their labels. None has no series: 0 would mean "no drift" if nothing was measured."""

SourceT = TypeVar("SourceT")
ObjectT = TypeVar("ObjectT", Counter, Gauge, Histogram)


@dataclass(frozen=True, slots=True)
class Metric:
    """The definition of one metric.

    Attributes:
        name: The full name, as scraped.
        labels: The label names. Values of `stream` and `topic` come from the configuration, and those of
            `name` from a baseline, never from an event, so that a bad producer cannot create series; the
            others are small sets.
        unit: The unit, in words.
        help: The meaning, in whole sentences.
    """

    name: str
    labels: tuple[str, ...]
    unit: str
    help: str

    @property
    def type(self) -> str:
        """The Prometheus type: counter, gauge or histogram."""
        return "counter" if self.name.endswith("_total") else "gauge"

    @property
    def documentation(self) -> str:
        """The text of the HELP line."""
        return f"{self.help} Unit: {self.unit}."


@dataclass(frozen=True, slots=True)
class ScrapedMetric(Metric, Generic[SourceT]):
    """A counter or gauge whose values are read at a scrape, from streams or shards.

    Attributes:
        samples: Returns the values of one stream or shard, with the labels except the first, its name.
    """

    samples: Callable[[SourceT], Samples]

    def family(self, sources: Mapping[str, SourceT]) -> Family:
        """Return the family with the values of these streams or shards, by name."""
        make = CounterMetricFamily if self.type == "counter" else GaugeMetricFamily
        family = make(self.name, self.documentation, labels=self.labels)
        for name, source in sources.items():
            for labels, value in self.samples(source):
                if value is not None:
                    family.add_metric((name, *labels), value)
        return family


@dataclass(frozen=True, slots=True)
class ObservedMetric(Metric, Generic[ObjectT]):
    """A metric that observers of the roles set.

    Attributes:
        make: The class of its object in prometheus_client.
        buckets: The upper bounds of a histogram's buckets.
    """

    make: type[ObjectT]
    buckets: tuple[float, ...] = ()

    @property
    def type(self) -> str:
        """The Prometheus type."""
        return self.make.__name__.lower()

    def create(self, registry: CollectorRegistry) -> ObjectT:
        """Return its object in a registry."""
        options: dict[str, Any] = {"buckets": self.buckets} if self.buckets else {}
        return self.make(self.name, self.documentation, self.labels, registry=registry, **options)
