"""The pulse of a client: its statistics arrive, and without them the process ends."""

from unittest.mock import Mock

import pytest

from driftgauge.kafka import client
from driftgauge.kafka.pulse import Pulse
from tests.builders.clocks import ManualClock
from tests.waiting import wait_for


@pytest.fixture
def clock():
    return ManualClock()


@pytest.mark.parametrize(
    ("checks", "beats", "ends"), [(500, False, True), (500, True, False), (290, False, False)]
)
def test_process_ends_where_a_client_shows_no_pulse(clock, checks, beats, ends):
    end = Mock()
    pulse = Pulse("a consumer", clock.clock.monotonic_s, end)
    for number in range(checks):
        clock.advance(0.2)
        if beats and number % 25 == 0:
            pulse.beat("{}")
        pulse.check()
    assert end.called == ends
    assert not ends or end.call_args.kwargs["client"] == "a consumer"


def test_client_has_a_pulse_without_a_broker():
    beats = []
    consumer = client.consumer({"bootstrap.servers": "127.0.0.1:1"}, "group", beats.append)
    try:
        wait_for("a pulse", lambda: consumer.poll(0.1) is None and bool(beats))
    finally:
        consumer.close()
