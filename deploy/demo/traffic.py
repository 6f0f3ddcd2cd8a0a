"""The demo's events: three weeks of days that end now, and live traffic that repeats them without end."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from confluent_kafka import Producer
from deploy.demo.digits import DAY_MS, EVENTS_PER_DAY, MODEL_VERSION, ImageQuality, TrafficSource
from deploy.demo.pictures import event_ids

from driftgauge.cli.publish import Publication, publish
from driftgauge.config import Settings
from driftgauge.core.durations import format_duration
from driftgauge.errors import ConfigError
from driftgauge.kafka import client

__all__ = [
    "DAYS_PER_WEEK",
    "DISORDER_MS",
    "LIVE_STREAM",
    "STREAM",
    "Day",
    "publish_live",
    "publish_until_stopped",
    "publish_weeks",
]

STREAM = "digits"
LIVE_STREAM = "digits-live"
DAYS_PER_WEEK = 7
DISORDER_MS = 3_600_000

# A window of a minute needs far fewer events to be scored, and the load is negligible.
_EVENTS_PER_PERIOD = 20
_PERIOD_MS = 1_000


@dataclass(frozen=True, slots=True)
class Day:
    """A day whose events were published.

    Attributes:
        start_ms: Its first millisecond, UTC.
        quality: The quality of its images.
        accuracy: The share of its images that the network classified correctly.
    """

    start_ms: int
    quality: ImageQuality
    accuracy: float


def publish_weeks(producer: Producer, source: TrafficSource, *, topic: str, end_ms: int) -> list[Day]:
    """Publish a week of each quality, the last of which ends at `end_ms`; return the days.

    Raises:
        BrokerError: The broker did not accept the events.
    """
    qualities = [quality for quality in ImageQuality for _ in range(DAYS_PER_WEEK)]
    days = []
    for number, quality in enumerate(qualities):
        images = source.draw(EVENTS_PER_DAY, quality)
        numbers = source.numbers(images)
        accuracy = float(numbers["correct"].mean())
        days.append(Day(end_ms - (len(qualities) - number) * DAY_MS, quality, accuracy))
        publication = Publication.spread(
            topic=topic,
            stream=STREAM,
            vectors=source.embed(images),
            event_ids=event_ids(images.pixels),
            start_ms=days[-1].start_ms,
            span_ms=DAY_MS,
            disorder_ms=DISORDER_MS,
            seed=0,
            model_version=MODEL_VERSION,
            numbers=numbers,
        )
        publish(producer, publication, rate=None)
    return days


def _live_periods(now_ms: int, day_ms: int) -> Iterator[tuple[int, ImageQuality]]:
    """Yield the start of each period from now on, ms, and the quality of its images.

    The first week begins with the current day, so only that day may be shorter.
    """
    start_ms = now_ms - now_ms % _PERIOD_MS
    first_ms = now_ms - now_ms % day_ms
    while True:
        week = (start_ms - first_ms) // (DAYS_PER_WEEK * day_ms)
        yield start_ms, tuple(ImageQuality)[week % len(ImageQuality)]
        start_ms += _PERIOD_MS


def publish_live(
    producer: Producer,
    source: TrafficSource,
    *,
    topic: str,
    day_ms: int,
    clock_ms: Callable[[], int],
    check: Callable[[], None],
    say: Callable[[str], None],
) -> None:
    """Publish events at their event time until `check` raises; the quality changes every week.

    A day lasts as long as one window of the stream. Dashboards and alerts of a Prometheus server that scrapes
    the service show the drift while it happens.

    Args:
        producer: The producer of a client without transactions.
        source: Makes the events' embeddings.
        topic: The events topic.
        day_ms: The length of a day.
        clock_ms: The wall clock.
        check: Called before each period; raises to end the traffic.
        say: Called with a line whenever the quality changes.

    Raises:
        BrokerError: The broker did not accept the events.
    """
    previous: ImageQuality | None = None
    for start_ms, quality in _live_periods(clock_ms(), day_ms):
        if quality is not previous:
            say(f"A week of {DAYS_PER_WEEK} days of {format_duration(day_ms)}: {quality} images.")
            previous = quality
        check()
        # No event lies in the future: a period is sent after it has ended.
        if (ahead_ms := start_ms + _PERIOD_MS - clock_ms()) > 0:
            time.sleep(ahead_ms / 1_000)
        images = source.draw(_EVENTS_PER_PERIOD, quality)
        publication = Publication.spread(
            topic=topic,
            stream=LIVE_STREAM,
            vectors=source.embed(images),
            event_ids=event_ids(images.pixels),
            numbers=source.numbers(images),
            start_ms=start_ms,
            span_ms=_PERIOD_MS,
            disorder_ms=0,
            seed=0,
            model_version=MODEL_VERSION,
        )
        publish(producer, publication, rate=None)


def publish_until_stopped(
    settings: Settings, source: TrafficSource, *, clock_ms: Callable[[], int], say: Callable[[str], None]
) -> None:
    """Publish live traffic to the brokers of a configuration until SIGTERM or SIGINT.

    Raises:
        ConfigError: The configuration does not watch the stream.
        BrokerError: The broker did not accept the events.
    """
    watched = next((stream for stream in settings.streams if stream.name == LIVE_STREAM), None)
    if watched is None:
        message = (
            f"the configuration has no stream {LIVE_STREAM}, so its events would be rejected; add the stream"
        )
        raise ConfigError(message)
    stopping = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stopping.set())

    def check() -> None:
        if stopping.is_set():
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        publish_live(
            client.producer(settings.kafka),
            source,
            topic=settings.topics.events[0],
            day_ms=watched.windows[0],
            clock_ms=clock_ms,
            check=check,
            say=say,
        )
