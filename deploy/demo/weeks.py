"""Publishes the three weeks of events day by day, and reads each day's window back from the service."""

from collections.abc import Iterator
from dataclasses import dataclass

from confluent_kafka import Producer
from deploy.demo.config import EVENTS_TOPIC
from deploy.demo.days import DAY_MS, EVENTS_PER_DAY, Day
from deploy.demo.digits import ImageQuality
from deploy.demo.errors import DemoError
from deploy.demo.live import DAYS_PER_WEEK
from deploy.demo.network import MODEL_VERSION
from deploy.demo.scrape import Scrape
from deploy.demo.service_process import ServiceProcess
from deploy.demo.source import TrafficSource

from driftgauge.cli.publisher import Publication, publish
from driftgauge.core.windows.result import Verdict
from driftgauge.events.timestamps import format_timestamp, parse_timestamp

__all__ = ["DAYS", "DISORDER", "STREAM", "WINDOW", "publish_days"]

STREAM = "digits"
WINDOW = "1d"
DAYS = len(ImageQuality) * DAYS_PER_WEEK
DISORDER = "1h"

_DISORDER_MS = 3_600_000
_FIRST_DAY_MS = parse_timestamp("2025-11-03T00:00:00Z")
# Events per second: far fewer than the service can read, so the broker deletes none before they are read.
_RATE = 2_000.0


@dataclass(frozen=True, slots=True)
class _PublishedDay:
    """A day that was published; `accuracy` is the network's on its images."""

    start_ms: int
    quality: ImageQuality
    accuracy: float

    @property
    def date(self) -> str:
        return format_timestamp(self.start_ms)[:10]

    @property
    def end_s(self) -> float:
        return (self.start_ms + DAY_MS) / 1000


def publish_days(source: TrafficSource, producer: Producer, service: ServiceProcess) -> Iterator[Day]:
    """Publish day after day; yield each day as soon as the service has closed its window.

    Raises:
        DemoError: The service failed, or did not close or score a window.
        BrokerError: The broker did not accept the events.
    """
    previous: _PublishedDay | None = None
    for number in range(DAYS):
        quality = tuple(ImageQuality)[number // DAYS_PER_WEEK]
        published = _publish_day(source, producer, _FIRST_DAY_MS + number * DAY_MS, quality)
        if previous is not None:
            yield _read_back(service, previous)  # Its window is closed by the events of the next day.
        previous = published
    if previous is not None:
        yield _read_back(service, previous)  # Its window is closed by the idle time-out.


def _publish_day(
    source: TrafficSource, producer: Producer, start_ms: int, quality: ImageQuality
) -> _PublishedDay:
    images = source.draw(EVENTS_PER_DAY, quality)
    publication = Publication.spread(
        topic=EVENTS_TOPIC,
        stream=STREAM,
        vectors=source.network.embed(images),
        start_ms=start_ms,
        span_ms=DAY_MS,
        disorder_ms=_DISORDER_MS,
        seed=0,
        model_version=MODEL_VERSION,
    )
    publish(producer, publication, rate=_RATE)
    return _PublishedDay(start_ms, quality, source.network.accuracy(images))


def _read_back(service: ServiceProcess, published: _PublishedDay) -> Day:
    """Wait until the service has closed a day's window, and return the day with its results.

    Raises:
        DemoError: The window was not closed in time, was replaced by the next one, or has no score.
    """
    scrape = service.wait_for(
        f"the window of {published.date} to be closed",
        lambda: _if_closed(service.scrape(), published),
        lambda: _progress(service.scrape()),
    )
    end_s = _gauge(scrape, "end_timestamp_seconds")
    divergence, floor = _gauge(scrape, "js_divergence"), _gauge(scrape, "noise_floor")
    verdict = next((verdict for verdict in Verdict if _gauge(scrape, "verdict", verdict=verdict)), None)
    if end_s != published.end_s or divergence is None or floor is None or verdict is None:
        message = (
            f"the window of {published.date} cannot be read: it has no score, or the next one has replaced "
            f"it because the machine stalled for some seconds; run the demo again ({_progress(scrape)})"
        )
        raise DemoError(message)
    return Day(
        start_ms=published.start_ms,
        quality=published.quality,
        published=EVENTS_PER_DAY,
        accuracy=published.accuracy,
        events=int(_gauge(scrape, "events") or 0),
        events_lost=scrape.total("driftgauge_offsets_skipped_total", place="deleted") != 0,
        js_divergence=divergence,
        noise_floor=floor,
        verdict=verdict,
    )


def _if_closed(scrape: Scrape, published: _PublishedDay) -> Scrape | None:
    """Return the scrape if it shows the day's window or a later one; else None."""
    end_s = _gauge(scrape, "end_timestamp_seconds")
    return None if end_s is None or end_s < published.end_s else scrape


def _gauge(scrape: Scrape, name: str, **labels: str) -> float | None:
    return scrape.value(f"driftgauge_window_{name}", stream=STREAM, window=WINDOW, **labels)


def _progress(scrape: Scrape) -> str:
    end_s = _gauge(scrape, "end_timestamp_seconds")
    newest = "none" if end_s is None else f"the one that ended {format_timestamp(round(end_s * 1000))}"
    events = [f"{number:,} {outcome}" for outcome, number in scrape.outcomes().items() if number]
    return f"newest closed window: {newest}; events: {', '.join(events) or 'none'}"
