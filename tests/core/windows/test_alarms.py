"""The alarm of a window size, and the drifts that have passed, whatever else the stream keeps or revises."""

from dataclasses import replace

import pytest

from driftgauge.core.judging.verdict import Verdict
from driftgauge.telemetry.snapshot import take_snapshot
from tests.builders.batches import at
from tests.builders.clocks import DAY_MS, HOUR_MS, MONDAY_MS
from tests.builders.references import FIRST, measured
from tests.builders.specs import ALARM, build_spec
from tests.core.shard import Shard, read_and_commit

CLEAN = (0, 0, 0, 0, 1, 1, 1, 2, 2, 3) * 20
MOVED = (3,) * 200
SENSITIVE = replace(ALARM, level=0.001)


def shard_of(**changes):
    return Shard(
        build_spec(reference=measured(FIRST), alarm=SENSITIVE, min_events=20, lateness_ms=DAY_MS, **changes)
    )


def send(shard, hour, clusters, **columns):
    """Read one event of each cluster within an hour, and commit; return the verdicts published."""
    shard.read(*(at(hour + number / 10_000, cluster) for number, cluster in enumerate(clusters)), **columns)
    return [(result.window.start_ms // HOUR_MS % 24, result.verdict.value) for result in shard.commit()]


def has_alarm(shard):
    (_, _, conclusive) = take_snapshot(shard.state, ["images"]).streams["images"]
    return conclusive[HOUR_MS].verdict is Verdict.DRIFT


@pytest.mark.parametrize("is_restarted", [False, True])
def test_late_events_that_revise_last_conclusive_window_raise_alarm(is_restarted):
    shard = shard_of()
    send(shard, 0, MOVED)
    send(shard, 1, CLEAN)
    send(shard, 2, (0,) * 5)
    assert send(shard, 3, (0,) * 5) == [(2, "insufficient")]
    assert not has_alarm(shard)
    if is_restarted:
        shard.restart()
    assert send(shard, 1.5, MOVED * 5) == [(1, "drift")]
    assert has_alarm(shard)


def test_alarm_falls_back_to_final_window_when_later_one_concludes_nothing_any_more():
    shard = shard_of()
    for hour, clusters in enumerate((MOVED, MOVED, CLEAN, CLEAN)):
        send(shard, hour, clusters)
    # The windows with drift are final, and the one that ended the alarm is not.
    send(shard, 27.5, CLEAN)
    assert not has_alarm(shard)
    shard.restart()
    shard.ends["embeddings", 0] -= 1
    assert (3, "incomplete") in send(shard, 3.5, CLEAN), "an overlap marks the hour as counted twice"
    assert has_alarm(shard)


MEASURED = measured(FIRST)


def hour_of(number, *, has_moved=False):
    """Sixty events of an hour: in the baseline's proportions, or with as much drift as pages by two hours."""
    counts = (14, 11, 8, 27) if has_moved else (24, 18, 12, 6)
    return [at(number, cluster) for cluster, count in enumerate(counts) for _ in range(count)]


def hours_of(letters, first=0):
    """The events of one hour after another: q(uiet) or M(oved)."""
    hours = enumerate(letters, first)
    return [event for number, letter in hours for event in hour_of(number, has_moved=letter == "M")]


def totals(shard):
    """Whether the hourly alarm is active, and how many drifts have passed."""
    state = shard.state.streams["images"]
    return state.has_alarm(HOUR_MS), state.status.drifts_passed.get(HOUR_MS, 0)


def test_drift_passes_when_its_alarm_ends_also_within_one_round():
    shard = Shard(build_spec(reference=MEASURED))
    read_and_commit(shard, *hours_of("qMM"), at(3))
    assert totals(shard) == (True, 0)
    shard.restart()
    # The alarm ends, and another begins and ends.
    results = read_and_commit(shard, *hours_of("qqqMMqqq", 3), at(11))
    assert [result.verdict for result in results].count(Verdict.DRIFT) == 3
    assert totals(shard) == (False, 2)
    # Of two further drifts the last goes on.
    read_and_commit(shard, *hours_of("qMMqqqMM", 11), at(19))
    assert totals(shard) == (True, 3)


def test_alarm_of_a_removed_size_is_found_after_the_restore():
    shard = Shard(build_spec(reference=MEASURED))
    read_and_commit(shard, *hours_of("qMM"), at(3))
    for sizes_ms, removed in (
        ((HOUR_MS,), []),
        ((HOUR_MS, 2 * HOUR_MS), []),
        ((2 * HOUR_MS,), [(HOUR_MS, MONDAY_MS + 2 * HOUR_MS)]),
    ):
        shard.restart(build_spec(reference=MEASURED, sizes_ms=sizes_ms))
        windows = [last.window for last in shard.state.removed_alarms]
        assert [(window.size_ms, window.start_ms) for window in windows] == removed
    shard.restart(build_spec(reference=MEASURED))
    read_and_commit(shard, *hours_of("qqq", 3), at(6))
    shard.restart(build_spec(reference=MEASURED, sizes_ms=(2 * HOUR_MS,)))
    assert shard.state.removed_alarms == []


def test_drift_of_an_older_window_passes_unless_an_alarm_is_active():
    shard = Shard(build_spec(reference=MEASURED, lateness_ms=20 * HOUR_MS))
    read_and_commit(shard, *hours_of("qMqqqq"), at(6))
    assert totals(shard) == (False, 0)
    # The window after the one that moved gets more of the same.
    (revision,) = read_and_commit(shard, *(at(2, 3) for _ in range(600)))
    assert (revision.revision, revision.verdict) == (1, Verdict.DRIFT)
    assert totals(shard) == (False, 1)
    # A further revision says nothing new.
    assert [each.verdict for each in read_and_commit(shard, at(2, 3))] == [Verdict.DRIFT]
    assert totals(shard) == (False, 1)
    shard.restart()
    assert totals(shard) == (False, 1)
    read_and_commit(shard, *hours_of("qMM", 6), at(9))
    assert totals(shard) == (True, 1)
    # Whoever saw this alarm looks at the page, which shows the older window.
    (revision,) = read_and_commit(shard, *(at(3, 3) for _ in range(600)))
    assert revision.verdict is Verdict.DRIFT
    assert totals(shard) == (True, 1)
