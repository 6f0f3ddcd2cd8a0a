"""The watchdog: what ends the process, and what needs new clients; `test_stalled` has unread partitions."""

import sys
from contextlib import nullcontext
from unittest.mock import Mock

import pytest

from driftgauge.errors import ClientLost
from driftgauge.kafka import client
from driftgauge.watchdog import Pulse
from tests.processes import run_command
from tests.waiting import wait_for

ENDLESS = """
import time
from driftgauge import watchdog
watchdog._SILENT_S, watchdog._STOP_S = {bounds}
lifetime = watchdog.Lifetime()
lifetime.come_round()
{then}
"""


@pytest.mark.parametrize(
    ("bounds", "then", "status"),
    [
        ((0.5, 60), "time.sleep(60)", 1),
        ((60, 0.5), "lifetime.stop(); time.sleep(60)", 1),
        # The end does not come later because the main thread still comes round, nor by a second signal.
        ((60, 0.5), "while True: lifetime.stop(); time.sleep(0.1)", 1),
        ((2, 60), "for _ in range(30): time.sleep(0.1); lifetime.come_round()", 0),
    ],
)
def test_process_ends_unless_its_main_thread_comes_round(bounds, then, status):
    done = run_command(sys.executable, "-c", ENDLESS.format(bounds=bounds, then=then))
    assert done.returncode == status
    assert ("most recent call first" in done.stderr) == bool(status), "the stacks of all threads"


@pytest.mark.parametrize(
    ("checks", "beats", "ends"), [(500, False, True), (500, True, False), (290, False, False)]
)
def test_process_ends_where_a_client_shows_no_pulse(clock, checks, beats, ends):
    end = Mock()
    pulse = Pulse("a consumer", clock.clock.monotonic_s, end)
    for number in range(checks):
        clock.advance(0.2)
        if beats and number % 25 == 0:
            pulse.beat()
        pulse.check()
    assert end.called == ends
    assert not ends or end.call_args.kwargs["client"] == "a consumer"


@pytest.mark.parametrize(
    ("statistics", "lasts_s", "is_lost"),
    [
        ("", 300, False),
        ("{}", 300, False),
        ('{"cgrp": {"state": "up", "join_state": "wait-join"}}', 185, True),
        ('{"cgrp": {"state": "up", "join_state": "wait-join"}}', 175, False),
        ('{"cgrp": {"state": "up", "join_state": "steady"}}', 300, False),
        ('{"cgrp": {"state": "query-coord", "join_state": "init"}}', 185, True),
    ],
)
def test_member_that_stays_outside_its_group_is_lost(clock, statistics, lasts_s, is_lost):
    pulse = Pulse("a consumer", clock.clock.monotonic_s)
    for _ in range(lasts_s // 5):
        clock.advance(5)
        pulse.beat(statistics)
    with pytest.raises(ClientLost, match="a consumer") if is_lost else nullcontext():
        pulse.require_joined()


def test_client_has_a_pulse_without_a_broker(clock):
    beats = []
    pulse = Pulse("a consumer", clock.clock.monotonic_s)

    def beat(statistics):
        pulse.beat(statistics)
        beats.append(statistics)

    consumer = client.consumer({"bootstrap.servers": "127.0.0.1:1"}, "group", beat)
    try:
        wait_for("a pulse", lambda: consumer.poll(0.1) is None and bool(beats))
    finally:
        consumer.close()
