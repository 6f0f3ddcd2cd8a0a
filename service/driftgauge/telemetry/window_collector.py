"""The gauges of closed windows: one collector over one immutable snapshot."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from driftgauge.core.durations import format_duration
from driftgauge.core.result import WindowResult
from driftgauge.telemetry.catalogue import METRICS

__all__ = ["WindowCollector"]


@dataclass(frozen=True, slots=True)
class _Closed:
    result: WindowResult
    closed_ms: int

    @property
    def place(self) -> tuple[int, int]:
        """The newest window has the highest (end, revision)."""
        return self.result.window.end_ms, self.result.revision


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What a scrape shows.

    Attributes:
        newest: The newest closed window, by stream and size in ms.
        watermarks_ms: The known watermarks, by stream.
        open_windows: How many windows are held, by stream and size in ms.
    """

    newest: Mapping[tuple[str, int], _Closed] = field(default_factory=dict)
    watermarks_ms: Mapping[str, int] = field(default_factory=dict)
    open_windows: Mapping[tuple[str, int], int] = field(default_factory=dict)


class WindowCollector(Collector):
    """Shows the newest closed window of each stream and size, and how far each stream has come.

    Every change builds a new snapshot and swaps it in by one assignment, and a scrape reads the
    reference once, so it never mixes two windows. Changes come from one thread, the consumer's;
    scrapes from any.
    """

    def __init__(self) -> None:
        self._snapshot = _Snapshot()

    def close(self, results: Iterable[WindowResult], closed_ms: int) -> None:
        """Take in windows closed or corrected at wall time `closed_ms`.

        A correction of an older window does not replace a newer window.
        """
        newest = dict(self._snapshot.newest)
        for result in results:
            closed = _Closed(result, closed_ms)
            key = result.stream, result.window.size_ms
            shown = newest.get(key)
            if shown is None or closed.place >= shown.place:
                newest[key] = closed
        self._snapshot = replace(self._snapshot, newest=newest)

    def advance(self, watermarks_ms: Mapping[str, int], open_windows: Mapping[tuple[str, int], int]) -> None:
        """Take in how far event time has come.

        Args:
            watermarks_ms: The known watermarks, by stream.
            open_windows: How many windows are held, by stream and size in ms.
        """
        self._snapshot = replace(
            self._snapshot,
            watermarks_ms={**self._snapshot.watermarks_ms, **watermarks_ms},
            open_windows={**self._snapshot.open_windows, **open_windows},
        )

    def clear(self) -> None:
        """Show nothing, for what was shown is no longer kept up to date here."""
        self._snapshot = _Snapshot()

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Yield the families without samples."""
        for name in (*_WINDOW_GAUGES, *_CLUSTER_GAUGES, _WATERMARK, _WINDOWS_OPEN):
            yield _family(name)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the families of one snapshot."""
        snapshot = self._snapshot
        for name, value_of in _WINDOW_GAUGES.items():
            family = _family(name)
            for (stream, size_ms), closed in snapshot.newest.items():
                value = value_of(closed)
                if value is not None:
                    family.add_metric((stream, format_duration(size_ms)), value)
            yield family
        for name, values_of in _CLUSTER_GAUGES.items():
            family = _family(name)
            for (stream, size_ms), closed in snapshot.newest.items():
                window = format_duration(size_ms)
                for cluster, value in enumerate(values_of(closed.result)):
                    family.add_metric((stream, window, str(cluster)), value)
            yield family
        watermarks = _family(_WATERMARK)
        for stream, watermark_ms in snapshot.watermarks_ms.items():
            watermarks.add_metric((stream,), watermark_ms / 1000)
        yield watermarks
        windows_open = _family(_WINDOWS_OPEN)
        for (stream, size_ms), number in snapshot.open_windows.items():
            windows_open.add_metric((stream, format_duration(size_ms)), number)
        yield windows_open


def _family(name: str) -> GaugeMetricFamily:
    metric = METRICS[name]
    return GaugeMetricFamily(metric.name, metric.documentation, labels=metric.labels)


def _js_divergence(closed: _Closed) -> float | None:
    return None if closed.result.score is None else closed.result.score.js_divergence


def _js_distance(closed: _Closed) -> float | None:
    return None if closed.result.score is None else closed.result.score.js_distance


def _noise_floor(closed: _Closed) -> float | None:
    return None if closed.result.score is None else closed.result.score.noise_floor


def _contributions(result: WindowResult) -> Sequence[float]:
    return () if result.score is None else result.score.contributions.tolist()


def _ratios(result: WindowResult) -> Sequence[float]:
    return () if result.count == 0 else (result.counts / result.count).tolist()


_WATERMARK = "driftgauge_watermark_timestamp_seconds"
_WINDOWS_OPEN = "driftgauge_windows_open"

# A gauge whose value is None has no series: a 0 would say "no drift" where nothing was measured.
_WINDOW_GAUGES: Mapping[str, Callable[[_Closed], float | None]] = {
    "driftgauge_window_js_divergence": _js_divergence,
    "driftgauge_window_js_distance": _js_distance,
    "driftgauge_window_noise_floor": _noise_floor,
    "driftgauge_window_events": lambda closed: closed.result.count,
    "driftgauge_window_revision": lambda closed: closed.result.revision,
    "driftgauge_window_end_timestamp_seconds": lambda closed: closed.result.window.end_ms / 1000,
    "driftgauge_window_closed_timestamp_seconds": lambda closed: closed.closed_ms / 1000,
}

_CLUSTER_GAUGES: Mapping[str, Callable[[WindowResult], Sequence[float]]] = {
    "driftgauge_window_cluster_js_contribution": _contributions,
    "driftgauge_window_cluster_ratio": _ratios,
}
