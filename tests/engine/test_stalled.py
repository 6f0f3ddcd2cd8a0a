"""Partitions whose stable offset is stalled by an open transaction."""

from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.engine.stalled import StalledOffsets
from driftgauge.errors import ClientLost
from tests.builders.clocks import ManualClock
from tests.harness.cluster import Cluster
from tests.kafka.slow_admin import SlowAdmin

FIRST, SECOND = ("partials", 0), ("partials", 1)
AFTER_S = 40.0


class Looks:
    """Looks at one partition, some time apart, whose offsets are answered at once."""

    def __init__(self):
        self.admin, self.clock = SlowAdmin(), ManualClock()
        self.stalled = StalledOffsets(self.admin, self.clock.clock.monotonic_s)
        self.partitions = [FIRST]

    def look(self, after_s, stable, high):
        """Return the stalled partitions; `high` is None where it cannot be had."""
        self.clock.advance(after_s)
        positions = dict.fromkeys(self.partitions)
        self.stalled.step(positions)
        for number, answers in enumerate(self.admin.asked):
            offset = stable if self.admin.stable[number] else high
            if any(each.done() for each in answers.values()):
                continue
            if offset is None:
                self.admin.fail(number, FIRST)
            else:
                self.admin.answer(number, FIRST, offset)
        return self.stalled.step(positions)


def test_partition_without_answer_keeps_its_state():
    looks = Looks()
    looks.look(10, 5, 9)
    assert looks.look(20, 5, 9) == looks.look(60, 5, None) == {}
    # What gave no answer is asked for again, and is not waited for.
    assert looks.look(10, 5, 9) == {}
    assert looks.look(10, 5, 9)[FIRST] > 60.0


def test_partition_not_held_is_forgotten():
    looks = Looks()
    looks.look(10, 5, 9)
    looks.partitions = []
    looks.stalled.step({})
    looks.partitions = [FIRST]
    assert looks.look(60, 5, 9) == {}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=60))
def test_stalled_partitions_match_readings(readings):
    looks, since_s, last = Looks(), None, None
    for number, (stable, behind) in enumerate(readings):
        now_s = 10.0 * number
        found = looks.look(10, stable, stable + behind)
        if not behind or last != (stable, True):
            since_s = now_s
        last = (stable, bool(behind))
        assert found == ({FIRST: now_s - since_s} if behind and now_s - since_s >= AFTER_S else {})


def test_step_asks_for_both_offsets_every_interval():
    admin, clock = SlowAdmin(), ManualClock()
    stalled = StalledOffsets(admin, clock.clock.monotonic_s)
    for number in range(9):
        clock.advance(5)
        assert stalled.step({FIRST: None}) == {}
        assert len(admin.asked) == 2 * (number + 1)
        assert stalled.step({FIRST: None}) == {}, "the answers are still to come"
        assert admin.stable[-2:] == [False, True]
        admin.answer(2 * number, FIRST, 9)
        admin.answer(2 * number + 1, FIRST, 5)
    assert stalled.step({FIRST: None}) == {FIRST: 40.0}
    assert len(admin.asked) == 18, "it is not time yet"


def test_step_waits_for_missing_answer():
    admin, clock = SlowAdmin(), ManualClock()
    stalled = StalledOffsets(admin, clock.clock.monotonic_s)
    stalled.step({FIRST: None})
    admin.answer(0, FIRST, 9)
    clock.advance(100)
    stalled.step({FIRST: None})
    assert len(admin.asked) == 2
    admin.answer(1, FIRST, 5)
    stalled.step({FIRST: None})
    assert len(admin.asked) == 4


@pytest.mark.parametrize(
    ("positions", "is_lost"),
    [
        ([5] * 14, True),
        ([5] * 13, False),
        ([-2] * 14, True),
        ([7] * 14, False),  # the rest is of an open transaction
        ([None] * 14, False),
        # It read on, or was not read for a moment.
        ([*[5] * 7, *[6] * 7], False),
        ([*[5] * 7, None, *[5] * 7], False),
    ],
)
def test_client_that_reads_nothing_for_a_minute_is_lost(positions, is_lost):
    admin, clock = SlowAdmin(), ManualClock()
    stalled = StalledOffsets(admin, clock.clock.monotonic_s)
    with pytest.raises(ClientLost, match=r"partials\[0\]") if is_lost else nullcontext():
        for number, position in enumerate(positions):
            clock.advance(5)
            stalled.step({FIRST: position})
            admin.answer(2 * number, FIRST, 9)
            admin.answer(2 * number + 1, FIRST, 7)
    assert stalled.high == {FIRST: 9}


def test_client_that_reads_through_a_backlog_is_not_lost():
    """It fetches from some partitions at a time, and comes to the others late."""
    admin, clock = SlowAdmin(), ManualClock()
    stalled = StalledOffsets(admin, clock.clock.monotonic_s)
    for number in range(30):
        clock.advance(5)
        stalled.step({FIRST: 0, SECOND: number})
        for each in (2 * number, 2 * number + 1):
            admin.answer(each, FIRST, 9)
            admin.answer(each, SECOND, 900)


@pytest.mark.broker
def test_open_transaction_is_stalled_until_it_ends(bootstrap):
    with Cluster(bootstrap) as cluster:
        clock = ManualClock()
        stalled = StalledOffsets(cluster.shared_admin, clock.clock.monotonic_s)
        cluster.publish(b"x", partition=1)
        writer = cluster.writer()
        writer.begin_transaction()
        writer.produce(cluster.events, b"open", partition=1)
        assert writer.flush(10) == 0
        partitions = {(cluster.events, 0): None, (cluster.events, 1): None}

        def look():
            clock.advance(1)
            return stalled.step(partitions)

        cluster.await_that(lambda: look().keys() == {(cluster.events, 1)}, "the stalled partition")
        writer.commit_transaction(10)
        cluster.await_that(lambda: look() == {}, "its end")
