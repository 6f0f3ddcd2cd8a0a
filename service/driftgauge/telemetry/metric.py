"""Definition of a metric: name, labels, unit, help, and its values at a scrape."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from driftgauge.core.windows.changelog import ShardPosition
from driftgauge.core.windows.result import Score, SegmentResult, WindowResult
from driftgauge.telemetry.snapshot import StreamView

__all__ = [
    "Family",
    "Metric",
    "MetricType",
    "Samples",
    "newest_window_metric",
    "score_metric",
    "segment_metric",
    "size_metric",
    "stream_metric",
]

Family = GaugeMetricFamily | CounterMetricFamily

Samples = Iterable[tuple[tuple[str, ...], float | None]]
"""Values with their labels. None has no series: 0 would mean "no drift" where nothing was measured."""

_WINDOW = ("stream", "window")


class MetricType(StrEnum):
    """The Prometheus metric types in use."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


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
        samples: Returns the values for a stream, with labels except `stream`; None if observers set them.
        shard_value: Returns the value for a shard from its position; None for metrics of no shard.
        buckets: The upper bounds of a histogram's buckets.
    """

    name: str
    labels: tuple[str, ...]
    unit: str
    help: str
    samples: Callable[[StreamView], Samples] | None = None
    shard_value: Callable[[ShardPosition], int] | None = None
    buckets: tuple[float, ...] = ()

    @property
    def type(self) -> MetricType:
        """The Prometheus type."""
        if self.buckets:
            return MetricType.HISTOGRAM
        return MetricType.COUNTER if self.name.endswith("_total") else MetricType.GAUGE

    @property
    def documentation(self) -> str:
        """The help_text of the HELP line."""
        return f"{self.help} Unit: {self.unit}."

    def family(self) -> Family:
        """Return a gauge or counter family without samples, to be filled at a scrape."""
        make = CounterMetricFamily if self.type is MetricType.COUNTER else GaugeMetricFamily
        return make(self.name, self.documentation, labels=self.labels)


def stream_metric(
    name: str, unit: str, help_text: str, value_of: Callable[[StreamView], float | None]
) -> Metric:
    """Return a metric with one value per stream."""
    return Metric(name, ("stream",), unit, help_text, lambda view: (((), value_of(view)),))


def size_metric(
    name: str, unit: str, help_text: str, value_of: Callable[[StreamView, int], float | None]
) -> Metric:
    """Return a metric with one value per window size; `value_of` gets the size in ms."""

    def samples(view: StreamView) -> Samples:
        return (((window,), value_of(view, size_ms)) for window, size_ms in view.sizes())

    return Metric(name, _WINDOW, unit, help_text, samples)


def newest_window_metric(
    name: str, unit: str, help_text: str, value_of: Callable[[WindowResult], float | None]
) -> Metric:
    """Return a metric with one value per window size, from its newest closed window."""

    def samples(view: StreamView) -> Samples:
        return (((window,), value_of(result)) for window, result in view.newest())

    return Metric(name, _WINDOW, unit, help_text, samples)


def score_metric(name: str, unit: str, help_text: str, value_of: Callable[[Score], float]) -> Metric:
    """Return a metric with one value per window size, from the score of its newest closed window."""
    help_text += " Absent where the window was not scored."
    return newest_window_metric(
        name, unit, help_text, lambda result: None if result.score is None else value_of(result.score)
    )


def segment_metric(
    name: str, unit: str, help_text: str, value_of: Callable[[SegmentResult], float | None]
) -> Metric:
    """Return a metric with one value per window size and segment, from its newest closed window."""

    def samples(view: StreamView) -> Samples:
        return ((labels, value_of(segment)) for labels, segment in view.segments())

    return Metric(name, (*_WINDOW, "segment", "value"), unit, help_text, samples)
