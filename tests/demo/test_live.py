"""Live traffic: the image quality of each day, and the events published."""

import os
import signal
from itertools import count, islice

import numpy as np
import orjson
import pytest
from deploy.demo.config import EVENTS_TOPIC, write_config
from deploy.demo.digits import ImageQuality
from deploy.demo.live import LIVE_STREAM, live_periods, publish_live, publish_until_stopped
from deploy.demo.source import TrafficSource

from driftgauge.config import load_settings
from driftgauge.errors import ConfigError
from tests.kafka.producers import RecordingProducer

MINUTE_MS = 60_000
NOON_MS = 1_764_072_000_000  # 2025-11-25T12:00:00Z


def days(now_ms, number):
    """The image qualities of each of the first days, a minute long: day -> qualities."""
    found = {}
    for start_ms, quality in islice(live_periods(now_ms, MINUTE_MS), number * 60):
        found.setdefault((start_ms - NOON_MS) // MINUTE_MS, set()).add(quality)
    return found


def test_live_weeks_last_seven_days_and_repeat_after_third():
    found = days(NOON_MS, 28)
    weeks = [ImageQuality.CLEAN, ImageQuality.BLURRED, ImageQuality.DARKENED, ImageQuality.CLEAN]
    assert found == {day: {weeks[day // 7]} for day in range(28)}


def test_current_day_is_first_of_week():
    found = days(NOON_MS + 47_300, 8)
    assert found[0] == found[6] == {ImageQuality.CLEAN}
    assert found[7] == {ImageQuality.BLURRED}


def test_live_periods_are_contiguous_within_days():
    starts = [start_ms for start_ms, _ in islice(live_periods(NOON_MS + 47_300, MINUTE_MS), 100)]
    assert starts[0] == NOON_MS + 47_000
    assert set(np.diff(starts)) == {1_000}


@pytest.fixture
def source(network, split):
    return TrafficSource(network, split.held_out, np.random.default_rng(3))


def interrupt_after(calls):
    """A check that ends the traffic, as Ctrl-C does, when it is called once more."""
    numbers = count(1)

    def check():
        if next(numbers) > calls:
            raise KeyboardInterrupt

    return check


def test_publish_live_fills_every_elapsed_second(source):
    said = []
    producer = RecordingProducer()
    with pytest.raises(KeyboardInterrupt):
        publish_live(
            producer,
            source,
            topic=EVENTS_TOPIC,
            day_ms=1_000,
            # A clock far ahead of all that is due: nothing is waited for.
            clock_ms=iter([NOON_MS, *[NOON_MS + MINUTE_MS] * 9]).__next__,
            check=interrupt_after(9),
            say=said.append,
        )
    events = [orjson.loads(value) for _, value in producer.sent]
    assert {event["stream"] for event in events} == {LIVE_STREAM}
    assert {len(event["embedding"]) for event in events} == {32}
    seconds = np.array([event["timestamp"] - NOON_MS for event in events]) // 1_000
    assert (np.bincount(seconds) == 20).all()
    assert said == [
        "A week of 7 days of 1s: clean images.",
        "A week of 7 days of 1s: blurred images.",
    ]


def settings_for(tmp_path, broker, stream):
    entry = {"name": stream, "baseline": "b.safetensors", "windows": ["10s", "1m"]}
    write_config(tmp_path / "driftgauge.yaml", bootstrap=broker.bootstrap, streams=[entry])
    return load_settings(tmp_path / "driftgauge.yaml", {})


def test_sigterm_stops_traffic_with_days_of_shortest_window(tmp_path, broker, source):
    said = []

    def clock_ms():
        # The second look is within the traffic, when its handler is in place.
        if said:
            os.kill(os.getpid(), signal.SIGTERM)
        return NOON_MS + (MINUTE_MS if said else 0)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        publish_until_stopped(
            settings_for(tmp_path, broker, LIVE_STREAM), source, clock_ms=clock_ms, say=said.append
        )
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert said == ["A week of 7 days of 10s: clean images."]


def test_configuration_without_live_stream_is_rejected(tmp_path, broker, source):
    with pytest.raises(ConfigError, match="has no stream digits-live"):
        publish_until_stopped(
            settings_for(tmp_path, broker, "digits"), source, clock_ms=lambda: NOON_MS, say=print
        )
