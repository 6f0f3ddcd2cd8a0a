"""WINDOWS' clients that give no record, without a broker."""

from unittest.mock import MagicMock, Mock

import pytest

from driftgauge.errors import ClientLost
from driftgauge.kafka.window_worker import WindowWorker
from driftgauge.telemetry.roles import RoleTelemetry
from tests.builders.clocks import ManualClock
from tests.harness.running_service import SPECS, build_settings
from tests.kafka.fakes import GroupConsumer, QuickAdmin


class Shards:
    """A worker of WINDOWS whose shards are assigned, over logs that end at an offset."""

    def __init__(self, end):
        self.clock, self.admin = ManualClock(), QuickAdmin(0, end)
        self.telemetry = MagicMock(spec=RoleTelemetry)
        settings = build_settings(
            {"bootstrap.servers": "a:1", "group.id": "g"}, windows="w", letters="l", events="e"
        )
        self.partials = settings.partials_topic
        self.worker = WindowWorker(
            settings,
            SPECS,
            {},
            consumer=GroupConsumer({}),
            changelog=Mock(consume=Mock(return_value=[])),
            admin=self.admin,
            transaction=Mock(),
            telemetry=self.telemetry,
            clock=self.clock.clock,
        )
        self.worker.assign([(self.partials, 0), (self.partials, 1)])

    def read_for_two_minutes(self):
        for _ in range(25):
            self.clock.advance(5)
            self.worker.process([])
            self.worker.step(1.0)


def test_client_that_gives_no_changelog_is_lost():
    with pytest.raises(ClientLost, match=r"changelog.*\[0\], .*changelog.*\[1\]"):
        Shards(end=9).read_for_two_minutes()


def test_client_that_gives_no_partial_is_lost():
    shards = Shards(end=0)
    shards.read_for_two_minutes()
    assert shards.telemetry.restored.call_count == 2
    shards.admin.end = 9
    with pytest.raises(ClientLost, match=r"partials.*\[0\], .*partials.*\[1\]"):
        shards.read_for_two_minutes()
    shards.telemetry.read_to.assert_called_with(shards.partials, 1, position=0, end=9)
