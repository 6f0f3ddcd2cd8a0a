"""A metric: its name, its help, and what it shows of a stream at a scrape."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from driftgauge.core.windows.changelog import ShardPosition
from driftgauge.core.windows.result import Score, SegmentResult, WindowResult
from driftgauge.telemetry.snapshot import ShownStream

__all__ = [
    "Family",
    "Kind",
    "Metric",
    "Samples",
    "of_newest",
    "of_score",
    "of_segment",
    "of_size",
    "of_stream",
]

Family = GaugeMetricFamily | CounterMetricFamily

Samples = Iterable[tuple[tuple[str, ...], float | None]]
"""Values with their labels. None has no series: a 0 would say "no drift" where nothing was measured."""

_WINDOW = ("stream", "window")


class Kind(StrEnum):
    """The Prometheus types in use."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: The full name, as it is scraped.
        labels: Its label names. Values of `stream` and `topic` come from the configuration, never
            from an event, so that a bad producer cannot mint series; the others are small sets.
        unit: The unit, in words.
        help: What it says, in whole sentences.
        samples: Returns its values of a stream, with their labels but `stream`; None where observers move it.
        of_shard: Its value of a shard, by the shard's position; None where it is of no shard.
        buckets: The bounds of a histogram's buckets.
    """

    name: str
    labels: tuple[str, ...]
    unit: str
    help: str
    samples: Callable[[ShownStream], Samples] | None = None
    of_shard: Callable[[ShardPosition], int] | None = None
    buckets: tuple[float, ...] = ()

    @property
    def kind(self) -> Kind:
        """Its Prometheus type."""
        if self.buckets:
            return Kind.HISTOGRAM
        return Kind.COUNTER if self.name.endswith("_total") else Kind.GAUGE

    @property
    def documentation(self) -> str:
        """The text of the HELP line."""
        return f"{self.help} Unit: {self.unit}."

    def family(self) -> Family:
        """Return the gauge or counter without samples, for what is collected at the time of a scrape."""
        make = CounterMetricFamily if self.kind is Kind.COUNTER else GaugeMetricFamily
        return make(self.name, self.documentation, labels=self.labels)


def of_stream(name: str, unit: str, text: str, value_of: Callable[[ShownStream], float | None]) -> Metric:
    """Return a metric with one value of a stream."""
    return Metric(name, ("stream",), unit, text, lambda shown: (((), value_of(shown)),))


def of_size(name: str, unit: str, text: str, value_of: Callable[[ShownStream, int], float]) -> Metric:
    """Return a metric with a value of each window size, ms."""

    def samples(shown: ShownStream) -> Samples:
        return (((window,), value_of(shown, size_ms)) for window, size_ms in shown.sizes())

    return Metric(name, _WINDOW, unit, text, samples)


def of_newest(name: str, unit: str, text: str, value_of: Callable[[WindowResult], float | None]) -> Metric:
    """Return a metric with a value of the newest closed window of each size."""

    def samples(shown: ShownStream) -> Samples:
        return (((window,), value_of(result)) for window, result in shown.newest())

    return Metric(name, _WINDOW, unit, text, samples)


def of_score(name: str, unit: str, text: str, value_of: Callable[[Score], float]) -> Metric:
    """Return a metric with a value of the score of the newest closed window of each size."""
    text += " Absent where the window was not scored."
    return of_newest(
        name, unit, text, lambda result: None if result.score is None else value_of(result.score)
    )


def of_segment(name: str, unit: str, text: str, value_of: Callable[[SegmentResult], float | None]) -> Metric:
    """Return a metric with a value of each segment of the newest closed window of each size."""

    def samples(shown: ShownStream) -> Samples:
        return ((labels, value_of(segment)) for labels, segment in shown.segments())

    return Metric(name, (*_WINDOW, "segment", "value"), unit, text, samples)
