"""Live traffic: the three weeks in the present tense, a window of the stream for a day, again and again.

For a Prometheus that is pointed at the service: events bear the time at which they are sent, so that
dashboards draw the story, and alerts fire, as it goes on.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from confluent_kafka import Producer
from deploy.demo.digits import Condition
from deploy.demo.network import MODEL_VERSION
from deploy.demo.source import Source

from driftgauge.config import Settings
from driftgauge.core.durations import format_duration
from driftgauge.errors import ConfigError
from driftgauge.kafka import client
from driftgauge.kafka.publisher import Publication, publish

__all__ = ["DAYS_PER_WEEK", "LIVE_STREAM", "live_periods", "publish_live", "publish_until_stopped"]

LIVE_STREAM = "digits-live"
DAYS_PER_WEEK = 7

# Well above what a window of a minute needs to be scored, and no load to speak of.
_EVENTS_PER_PERIOD = 20
_PERIOD_MS = 1_000


def live_periods(now_ms: int, day_ms: int) -> Iterator[tuple[int, Condition]]:
    """Yield the start of every period from now on, ms, and the condition that its images are under.

    The first week begins with the day that is under way, so a week holds whole days but for that one.
    """
    start_ms = now_ms - now_ms % _PERIOD_MS
    first_ms = now_ms - now_ms % day_ms
    while True:
        week = (start_ms - first_ms) // (DAYS_PER_WEEK * day_ms)
        yield start_ms, tuple(Condition)[week % len(Condition)]
        start_ms += _PERIOD_MS


def publish_live(
    producer: Producer,
    source: Source,
    *,
    topic: str,
    day_ms: int,
    clock_ms: Callable[[], int],
    check: Callable[[], None],
    say: Callable[[str], None],
) -> None:
    """Publish events of the present time until interrupted, a week of days under each condition.

    Raises:
        BrokerError: The broker did not take the events.
    """
    before: Condition | None = None
    for start_ms, condition in live_periods(clock_ms(), day_ms):
        if condition is not before:
            say(f"A week of {DAYS_PER_WEEK} days of {format_duration(day_ms)}: {condition} images.")
            before = condition
        check()
        # What is sent has happened: a period is sent when it is over.
        if (ahead_ms := start_ms + _PERIOD_MS - clock_ms()) > 0:
            time.sleep(ahead_ms / 1_000)
        publication = Publication.spread(
            topic=topic,
            stream=LIVE_STREAM,
            vectors=source.network.embed(source.draw(_EVENTS_PER_PERIOD, condition)),
            start_ms=start_ms,
            span_ms=_PERIOD_MS,
            disorder_ms=0,
            seed=0,
            model_version=MODEL_VERSION,
        )
        publish(producer, publication, rate=None)


def publish_until_stopped(
    settings: Settings, source: Source, *, clock_ms: Callable[[], int], say: Callable[[str], None]
) -> None:
    """Publish live traffic to the brokers of a configuration that watches it, until SIGTERM or SIGINT.

    Raises:
        ConfigError: It does not watch the stream.
        BrokerError: The broker did not take the events.
    """
    watched = next((stream for stream in settings.streams if stream.name == LIVE_STREAM), None)
    if watched is None:
        message = f"the configuration watches no stream {LIVE_STREAM}: its events would be refused; add it"
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
