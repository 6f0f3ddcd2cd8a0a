"""Partitions whose stable offset is stalled by an open transaction, and clients that read nothing."""

from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.engine.stalled import StalledOffsets
from driftgauge.errors import ClientLost
from tests.builders.clocks import ManualClock
from tests.kafka.slow_admin import SlowAdmin

FIRST, SECOND = ("partials", 0), ("partials", 1)
AFTER_S = 40.0


class Looks:
    """Looks at partitions, some time apart, whose offsets are answered at once."""

    def __init__(self):
        self.admin, self.clock = SlowAdmin(), ManualClock()
        self.stalled = StalledOffsets(self.admin, self.clock.clock.monotonic_s)

    def look(self, after_s, stable, high, positions=None):
        """Return the stalled partitions; `high` is None where it cannot be had."""
        positions = {FIRST: None} if positions is None else positions
        self.clock.advance(after_s)
        self.stalled.step(positions)
        for number, answers in enumerate(self.admin.asked):
            offset = stable if self.admin.stable[number] else high
            for at in [at for at, answer in answers.items() if not answer.done()]:
                if offset is None:
                    self.admin.fail(number, (at.topic, at.partition))
                else:
                    self.admin.answer(number, (at.topic, at.partition), offset)
        return self.stalled.step(positions)


@pytest.fixture
def looks():
    return Looks()


def test_partition_without_answer_keeps_its_state_and_one_not_held_is_forgotten(looks):
    looks.look(10, 5, 9)
    assert looks.look(20, 5, 9) == looks.look(60, 5, None) == {}
    # What gave no answer is asked for again, and is not waited for.
    assert looks.look(10, 5, 9) == {}
    assert looks.look(10, 5, 9)[FIRST] > 60.0
    looks.look(10, 5, 9, {})
    assert looks.look(60, 5, 9) == {}


def test_brokers_are_asked_every_interval_and_at_once_for_another_partition(looks):
    both = {FIRST: None, SECOND: None}
    for after_s, positions, requests in ((0, None, 1), (4.9, None, 1), (0.1, None, 2), (1, both, 3)):
        looks.look(after_s, 5, 9, positions)
        assert len(looks.admin.asked) == 2 * requests


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


@pytest.mark.parametrize(
    ("positions", "is_lost"),
    [
        ([5] * 13, True),
        ([5] * 12, False),
        ([-2] * 13, True),
        ([7] * 14, False),  # the rest is of an open transaction
        ([None] * 14, False),
        # It read on, or was not read for a moment.
        ([*[5] * 7, *[6] * 7], False),
        ([*[5] * 7, None, *[5] * 7], False),
    ],
)
def test_client_that_reads_nothing_for_a_minute_is_lost(looks, positions, is_lost):
    with pytest.raises(ClientLost, match=r"partials\[0\]") if is_lost else nullcontext():
        for position in positions:
            looks.look(5, 7, 9, {FIRST: position})
    assert looks.stalled.high == {FIRST: 9}


def test_client_that_reads_through_a_backlog_is_not_lost(looks):
    """It fetches from some partitions at a time, and comes to the others late."""
    for number in range(30):
        looks.look(5, 900, 900, {FIRST: 0, SECOND: number})
