"""The bound of a commit, by the time that commits take."""

from unittest.mock import Mock

import pytest

from driftgauge.core.commit_limit import MAX_COMMIT_BYTES, CommitLimit
from driftgauge.errors import ClientLost, TransactionAborted
from driftgauge.kafka.transaction import bounded
from tests.builders.clocks import ManualClock

FULL = MAX_COMMIT_BYTES


def limit_after(*steps):
    limit = CommitLimit()
    for is_committed, took_s in steps:
        (limit.committed if is_committed else limit.aborted)(took_s)
    return limit.bytes


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(True, 5.9)], FULL),
        ([(True, 6.0)], FULL // 2),
        ([(False, 12.0)] * 2, FULL // 4),
        # Fenced, or a partition refused a record at once: a smaller commit would fail as well.
        ([(False, 0.1)] * 5, FULL),
        ([(False, 12.0)] * 9, 2**20),
        ([(True, 6.0), *[(True, 1.9)] * 9], FULL // 2),
        ([(True, 6.0), *[(True, 1.9)] * 10], FULL),
        # Neither quick nor slow: ten quick ones begin again.
        ([(True, 6.0), *[(True, 1.9)] * 9, (True, 2.0), (True, 1.9)], FULL // 2),
        ([(True, 6.0), *[(True, 1.9)] * 9, (False, 0.1), (True, 1.9)], FULL // 2),
        ([(True, 0.1)] * 30, FULL),
    ],
)
def test_bound_follows_time_of_commits(steps, expected):
    assert limit_after(*steps) == expected


@pytest.mark.parametrize(
    ("error", "ratio"),
    [
        (TransactionAborted("slow", is_slow=True), 0.5),
        (ClientLost("no answer"), 0.5),
        (TransactionAborted("silent", unwritable=[("changelog", 0)]), 1.0),
        (TransactionAborted("large", too_large={("changelog", 0): b"key"}), 1.0),
    ],
)
def test_partition_that_takes_nothing_does_not_lower_bound(error, ratio):
    limit, clock = CommitLimit(), ManualClock()

    def commit():
        with bounded(Mock(), limit, clock.clock, 12.0):
            clock.advance(12)
            raise error

    with pytest.raises(type(error)):
        commit()
    assert limit.ratio == ratio
