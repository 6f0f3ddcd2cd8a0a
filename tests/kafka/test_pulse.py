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
    ("checks", "beats", "ends"),
    [
        (500, None, True),
        (290, None, False),
        (1_000, "", False),
        (1_000, '{"cgrp": {"state": "up", "join_state": "wait-join"}}', True),
        (850, '{"cgrp": {"state": "up", "join_state": "wait-join"}}', False),
        (1_000, '{"cgrp": {"state": "up", "join_state": "steady"}}', False),
        (1_000, '{"cgrp": {"state": "query-coord", "join_state": "init"}}', False),
    ],
)
def test_process_ends_where_a_client_shows_no_pulse(clock, checks, beats, ends):
    end = Mock()
    pulse = Pulse("a consumer", clock.clock.monotonic_s, end, is_member=True)
    for number in range(checks):
        clock.advance(0.2)
        if beats is not None and number % 25 == 0:
            pulse.beat(beats)
        pulse.check()
    assert end.called == ends
    assert not ends or end.call_args.kwargs["client"] == "a consumer"


def test_client_has_a_pulse_without_a_broker(clock):
    beats = []
    pulse = Pulse("a consumer", clock.clock.monotonic_s, is_member=True)

    def beat(statistics):
        pulse.beat(statistics)
        beats.append(statistics)

    consumer = client.consumer({"bootstrap.servers": "127.0.0.1:1"}, "group", beat)
    try:
        wait_for("a pulse", lambda: consumer.poll(0.1) is None and bool(beats))
    finally:
        consumer.close()
