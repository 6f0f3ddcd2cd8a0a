"""The totals of a stream: events applied and late, and drifts that have passed."""

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.judging.verdict import Verdict
from tests.builders.batches import at
from tests.builders.clocks import HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.references import FIRST, SEGMENTED, measured
from tests.builders.specs import ALARM, build_spec
from tests.core.shard import Shard, read_and_commit
from tests.examples import examples

MEASURED = measured(FIRST)
SIZES_MS = (10 * MINUTE_MS, HOUR_MS)
# Of each commit: whether the shard's owner restarts before it, the partition, and the minutes of its events.
COMMITS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 1), st.lists(st.integers(0, 300), max_size=6)), max_size=12
)


@given(commits=COMMITS)
@settings(max_examples=examples(24))
def test_applied_events_are_those_counted_and_those_late_for_each_size(commits):
    spec = build_spec(
        reference=SEGMENTED,
        sizes_ms=SIZES_MS,
        lateness_ms=20 * MINUTE_MS,
        alarm=replace(ALARM, segment_keys=("country",)),
    )
    shard, counts, sent = Shard(spec, partitions=2), Counter(), 0
    before = dict.fromkeys(SIZES_MS, (0, 0))
    for restarts, partition, minutes in commits:
        if restarts:
            shard.restart()
        events = [(MONDAY_MS + minute * MINUTE_MS, minute % 4) for minute in minutes]
        segments = [{"country": "de"} if minute % 2 else None for minute in minutes]
        if events:
            shard.read(*events, partition=partition, baseline=SEGMENTED.key, segments=segments)
        sent += len(events)
        for result in shard.commit():
            size_ms = result.window.size_ms
            counts[result.window] = result.count
            assert (result.applied_total, result.late_total) == (sent, shard.status().late.get(size_ms, 0))
            assert before[size_ms] <= (result.applied_total, result.late_total)
            before[size_ms] = result.applied_total, result.late_total
    shard.restart()
    counts.update(
        {each.window: each.count - counts[each.window] for each in shard.commit(has_source_ended=True)}
    )
    if sent:
        assert shard.status().applied == sent
    for size_ms in SIZES_MS if sent else ():
        counted = sum(count for window, count in counts.items() if window.size_ms == size_ms)
        assert counted + shard.status().late.get(size_ms, 0) == sent


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
