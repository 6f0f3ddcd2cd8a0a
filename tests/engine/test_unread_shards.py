"""Shards of WINDOWS without a broker: clients that give no record, damaged records, faults of the code."""

from concurrent.futures import Future
from unittest.mock import MagicMock, Mock

import numpy as np
import pytest

from driftgauge.core.commit_limit import CommitLimit
from driftgauge.core.counting.partial import CommitId, PartitionProgress, shard_of
from driftgauge.core.window import Window
from driftgauge.core.windows.changelog import (
    AcceptedLoss,
    AcceptedLossKey,
    PaneCounts,
    PaneKey,
    PositionKey,
    ShardPosition,
    StreamKey,
    StreamStatus,
)
from driftgauge.engine.windows.window_worker import WindowWorker
from driftgauge.errors import BrokerError, ClientLost, StateError, TransactionFailed
from driftgauge.records.changelog_records import decode, encode_key, encode_value
from driftgauge.records.partials import encode_commit
from driftgauge.telemetry.roles import RoleTelemetry
from tests.builders.clocks import MONDAY_MS, SECOND_MS, ManualClock
from tests.builders.messages import FakeMessage
from tests.engine.parts import SPECS, STREAM, GroupConsumer, QuickAdmin, build_settings
from tests.simulation.replicas import sound


def commit_of(number, shards):
    """Return the single part of a commit of COUNT without events."""
    progress = PartitionProgress("", 1, True, 0, 0, None, ("e", 0), 0, 0)
    (part,) = encode_commit(CommitId("a", 1, number), shards, [], [progress], 10**6, written_ms=MONDAY_MS)
    return part


class Shards:
    """A worker of WINDOWS whose shards are assigned, over logs that end at an offset."""

    def __init__(self, end, check_settings=sound, offsets=None):
        self.clock, self.admin = ManualClock(), QuickAdmin(0, end)
        self.telemetry, self.transaction = MagicMock(spec=RoleTelemetry), Mock()
        self.changelog = Mock(consume=Mock(return_value=[]))
        settings = build_settings(
            {"bootstrap.servers": "a:1", "group.id": "g"}, windows="w", letters="l", events="e"
        )
        self.partials, self.shards = settings.partials_topic, settings.shards
        self.changelog_topic = settings.changelog_topic
        self.worker = WindowWorker(
            settings,
            SPECS,
            {},
            consumer=GroupConsumer(offsets or {}),
            changelog=self.changelog,
            admin=self.admin,
            transaction=self.transaction,
            check_settings=check_settings,
            telemetry=self.telemetry,
            clock=self.clock.clock,
            limit=CommitLimit(),
        )
        self.worker.assign([(self.partials, 0), (self.partials, 1)])

    def read_commit(self, number):
        """Read a commit without events from both shards; return the shards whose offsets are committed."""
        part = commit_of(number, self.shards)
        messages = [FakeMessage(part, topic=self.partials, partition=at, offset=number) for at in (0, 1)]
        self.clock.advance(5)
        self.worker.process(messages)
        self.worker.step(1.0)
        return [each.partition for each in self.transaction.commit.call_args.args[0]]

    def poll_without_records(self, times=25, every_s=5):
        """Let the worker work for two minutes, or so many times."""
        for _ in range(times):
            self.clock.advance(every_s)
            self.worker.process([])
            self.worker.step(1.0)


def test_client_that_gives_no_changelog_is_lost():
    with pytest.raises(ClientLost, match=r"changelog.*\[0\], .*changelog.*\[1\]"):
        Shards(end=9).poll_without_records()


def test_client_that_gives_no_partial_is_lost():
    shards = Shards(end=0)
    shards.poll_without_records()
    assert shards.telemetry.started.call_count == 2
    shards.admin.end = 9
    with pytest.raises(ClientLost, match=r"partials.*\[0\], .*partials.*\[1\]"):
        shards.poll_without_records()
    shards.telemetry.read_to.assert_called_with(shards.partials, 1, position=0, end=9)


@pytest.mark.parametrize(
    ("part", "reason"), [(b"no partial", ""), (commit_of(2, shards=3), "written for 3 shards")]
)
def test_invalid_partial_stops_its_shard_alone(caplog, part, reason):
    shards = Shards(end=0)
    shards.poll_without_records()
    shards.worker.process([FakeMessage(part, topic=shards.partials, partition=1, offset=7)])
    assert shards.read_commit(2) == [0]
    (stopped,) = (record for record in caplog.records if hasattr(record, "reason"))
    assert stopped.shard == 1
    assert f"{shards.partials}[1]@7" in stopped.reason
    assert reason in stopped.reason


@pytest.mark.parametrize("topic", ["windows", "changelog"])
def test_record_that_no_topic_takes_stops_its_shard_alone(caplog, topic):
    shards = Shards(end=0)
    shards.poll_without_records()
    shard, key = shard_of(STREAM, shards.shards), f"{STREAM}/1s/2025-11-03T00:00:00Z".encode()
    at = ("w", 9) if topic == "windows" else (shards.changelog_topic, shard)
    shards.worker.handle_failure(TransactionFailed("raise max.message.bytes of it", too_large={at: key}))
    assert shards.read_commit(2) == [1 - shard]
    assert [record.reason for record in caplog.records if hasattr(record, "reason")] == [
        "raise max.message.bytes of it"
    ]


@pytest.mark.parametrize("heals", [True, False])
def test_shard_waits_for_the_offset_that_its_changelog_covers(caplog, heals):
    offsets = {0: (1, "")}
    shards = Shards(end=2, offsets=offsets)
    position = encode_value(ShardPosition(2, 2, MONDAY_MS))
    shards.changelog.consume.return_value = [
        FakeMessage(position, key=encode_key(PositionKey()), partition=shard, offset=1) for shard in (0, 1)
    ]
    shards.poll_without_records(8, every_s=1)
    assert shards.telemetry.started.call_count == 1
    if heals:
        offsets[0] = (2, "")
    shards.poll_without_records()
    assert shards.telemetry.started.call_count == 1 + heals
    assert ("committed 1: the offsets were reset" in str([vars(each) for each in caplog.records])) != heals


@pytest.mark.parametrize("segment", [None, ("country", "de")])
@pytest.mark.parametrize(("excess", "stopped"), [(0, 0), (-1, 1)])
def test_tally_of_another_length_than_its_scheme_stops_its_shard(caplog, segment, excess, stopped):
    scheme = SPECS[0].scheme(SPECS[0].baselines[0].reference)
    scheme = scheme if segment is None else scheme.of_segments
    pane = encode_key(PaneKey(STREAM, scheme.key, Window(SECOND_MS, MONDAY_MS), segment))
    position = encode_key(PositionKey()), ShardPosition(2, 2, MONDAY_MS)
    shards = Shards(end=2)
    shards.changelog.consume.return_value = [
        FakeMessage(encode_value(value), key=key, partition=shard, offset=1)
        for shard, key, value in (
            (0, pane, PaneCounts(np.ones(scheme.length + excess, np.int64))),
            *((shard, *position) for shard in (0, 1)),
        )
    ]
    shards.poll_without_records()
    reasons = [record.reason for record in caplog.records if record.levelname == "ERROR"]
    named = f"restore of driftgauge.g.changelog.2[0]: the changelog record {pane.decode()} is malformed ("
    assert [named in reason for reason in reasons] == [True] * stopped
    assert shards.telemetry.started.call_count == 2 - stopped


@pytest.mark.parametrize(
    ("keys", "accepted_ms", "reason"),
    [
        (2, None, ""),
        (None, None, ""),
        (3, None, "accept-loss --shard 0"),
        (1, None, "another program wrote some"),
        (3, MONDAY_MS, ""),
        (2, MONDAY_MS, ""),
        # The shard has committed since, so it had not stopped.
        (3, MONDAY_MS - 1, "accept-loss --shard 0"),
        (1, MONDAY_MS, "another program wrote some"),
    ],
)
def test_changelog_without_some_keys_stops_its_shard_until_loss_is_accepted(
    caplog, keys, accepted_ms, reason
):
    is_accepted, stopped = accepted_ms is not None, bool(reason)
    shards = Shards(end=2)
    held = [(encode_key(StreamKey(STREAM)), StreamStatus())]
    held += [(encode_key(AcceptedLossKey()), AcceptedLoss(accepted_ms or 0))] * is_accepted
    held += [(encode_key(PositionKey()), ShardPosition(2, 2, MONDAY_MS, keys=keys))]
    shards.changelog.consume.return_value = [
        FakeMessage(encode_value(value), key=key, partition=0, offset=1) for key, value in held
    ] + [
        FakeMessage(
            encode_value(ShardPosition(2, 2, MONDAY_MS)), key=encode_key(PositionKey()), partition=1, offset=1
        )
    ]
    shards.poll_without_records()
    reasons = " ".join(record.reason for record in caplog.records if hasattr(record, "reason"))
    assert ("holds 2 keys, and held" in reasons) is stopped
    assert reason in reasons
    assert shards.read_commit(2) == [0, 1][stopped:]
    if stopped:
        return
    losses = shards.worker._shards[0].state.streams[STREAM].status.losses
    assert bool(losses) is (is_accepted and keys == 3)
    # The next commit counts the keys that it leaves, without the acceptance, which it deletes.
    written = dict(call.args[2:4] for call in shards.transaction.produce.call_args_list if call.args[1] == 0)
    assert written.get(encode_key(AcceptedLossKey()), b"kept") == (None if is_accepted else b"kept")
    position = decode(encode_key(PositionKey()), written[encode_key(PositionKey())])[1]
    assert position.keys == 2 + sum(key[:9] == b'["sources' for key in written)


def test_acceptance_for_shard_without_state_is_deleted(caplog):
    shards = Shards(end=2)
    key, value = encode_key(AcceptedLossKey()), encode_value(AcceptedLoss(MONDAY_MS))
    shards.changelog.consume.return_value = [
        FakeMessage(value, key=key, partition=0, offset=1),
        FakeMessage(None, key=b"gone", partition=1, offset=1),
    ]
    shards.poll_without_records(5)
    assert shards.read_commit(0) == [0, 1]
    written = dict(call.args[2:4] for call in shards.transaction.produce.call_args_list if call.args[1] == 0)
    assert written[key] is None
    position = decode(encode_key(PositionKey()), written[encode_key(PositionKey())])[1]
    assert position.keys == len(written) - 1


def test_restores_share_one_answer_about_settings():
    ask = Mock(side_effect=sound)
    shards = Shards(0, ask)
    shards.poll_without_records()
    assert (shards.telemetry.started.call_count, ask.call_count) == (2, 1)


@pytest.mark.parametrize("error", [StateError("cleanup.policy=compact,delete"), BrokerError("away")])
def test_settings_of_changelog_are_checked_at_each_restore(caplog, error):
    refused: Future[None] = Future()
    refused.set_exception(error)
    answers = [refused, refused]
    shards = Shards(0, lambda: answers.pop() if answers else sound())
    shards.poll_without_records()
    stopped = [record.reason for record in caplog.records if hasattr(record, "reason")]
    assert len(stopped) == (2 if isinstance(error, StateError) else 0)
    assert shards.telemetry.started.call_count == 2 - len(stopped)


@pytest.mark.parametrize("fails", ["apply", "close_windows", "drain_changes", "show"])
@pytest.mark.parametrize("error", [KeyError("a fault of ours"), StateError("odd")])
def test_shard_on_which_the_code_fails_stops_alone(fails, error):
    shards = Shards(end=0)
    shards.poll_without_records()
    assert shards.read_commit(0) == [0, 1]
    if fails == "show":
        shards.telemetry.show.side_effect = [error, *[None] * 5]
        shards.read_commit(1)
    else:
        setattr(shards.worker._shards[0].state, fails, Mock(side_effect=error))
    assert shards.read_commit(2) == shards.read_commit(3) == [1]
    shards.telemetry.stopped.assert_called_with([(shards.partials, 0)])
