"""Shards of WINDOWS without a broker: clients that give no record, and faults of the code."""

from unittest.mock import MagicMock, Mock

import pytest

from driftgauge.core.counting.partial import CommitId, PartitionProgress
from driftgauge.errors import ClientLost, StateError
from driftgauge.kafka.window_worker import WindowWorker
from driftgauge.records.partials import encode_commit
from driftgauge.telemetry.roles import RoleTelemetry
from tests.builders.clocks import MONDAY_MS, ManualClock
from tests.builders.messages import FakeMessage
from tests.harness.running_service import SPECS, build_settings
from tests.kafka.fakes import GroupConsumer, QuickAdmin


class Shards:
    """A worker of WINDOWS whose shards are assigned, over logs that end at an offset."""

    def __init__(self, end):
        self.clock, self.admin = ManualClock(), QuickAdmin(0, end)
        self.telemetry, self.transaction = MagicMock(spec=RoleTelemetry), Mock()
        settings = build_settings(
            {"bootstrap.servers": "a:1", "group.id": "g"}, windows="w", letters="l", events="e"
        )
        self.partials, self.shards = settings.partials_topic, settings.shards
        self.worker = WindowWorker(
            settings,
            SPECS,
            {},
            consumer=GroupConsumer({}),
            changelog=Mock(consume=Mock(return_value=[])),
            admin=self.admin,
            transaction=self.transaction,
            telemetry=self.telemetry,
            clock=self.clock.clock,
        )
        self.worker.assign([(self.partials, 0), (self.partials, 1)])

    def read_commit(self, number):
        """Read a commit without events from both shards; return the shards whose offsets are committed."""
        progress = PartitionProgress("", 1, True, 0, 0, None, ("e", 0), 0, 0)
        (part,) = encode_commit(
            CommitId("a", 1, number), self.shards, [], [progress], 10**6, written_ms=MONDAY_MS
        )
        messages = [FakeMessage(part, topic=self.partials, partition=at, offset=number) for at in (0, 1)]
        self.clock.advance(5)
        self.worker.process(messages)
        self.worker.step(1.0)
        return [each.partition for each in self.transaction.commit.call_args.args[0]]

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


@pytest.mark.parametrize("fails", ["apply", "close_windows", "drain_changes", "show"])
@pytest.mark.parametrize("error", [KeyError("a fault of ours"), StateError("odd")])
def test_shard_on_which_the_code_fails_stops_alone(fails, error):
    shards = Shards(end=0)
    shards.read_for_two_minutes()
    assert shards.read_commit(0) == [0, 1]
    if fails == "show":
        shards.telemetry.show.side_effect = [error, *[None] * 5]
        shards.read_commit(1)
    else:
        setattr(shards.worker._shards[0].state, fails, Mock(side_effect=error))
    assert shards.read_commit(2) == shards.read_commit(3) == [1]
    shards.telemetry.stopped.assert_called_with(shards.partials, 1)
