"""Streams without an entry of their own that fall silent: retired after a week, forgotten a month later."""

import pytest

from driftgauge.core.judging.verdict import Verdict
from driftgauge.records.changelog_records import decode
from tests.builders.changelog_records import CALIBRATION
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.references import FIRST
from tests.builders.specs import build_minute_spec
from tests.core.shard import Shard, read_now

TENANTS, NAME = "tenant-*", "tenant-a"
KEPT = ["HistoryKey", "MeasurementKey", "StreamKey"]
"""The kinds of the keys of a retired stream."""


def tenants(most=50, **changes):
    return build_minute_spec(TENANTS, most=most, **changes)


def kinds(shard, stream=NAME):
    """The kinds of the keys that the changelog has of a stream."""
    decoded = [decode(*record)[0] for record in shard.changelog.items()]
    return sorted({type(key).__name__ for key in decoded if getattr(key, "stream", None) == stream})


def admitted(shard):
    return shard.state.entries[TENANTS].admitted


def run_days(shard, number, *streams):
    """Let days pass on which these streams have an event, with a restart after each; return the results."""
    results = []
    for _ in range(number):
        for stream in streams:
            read_now(shard, 0, stream=stream)
        results += shard.commit(caught_up=True)
        results += shard.commit(after_ms=HOUR_MS, caught_up=True)
        shard.restart()
        shard.now_ms += DAY_MS - HOUR_MS
    return results


def retired(most=50):
    """A shard whose stream had events on two days, and a late one, and has retired; and its status before."""
    shard = Shard(tenants(most))
    run_days(shard, 2, NAME)
    read_now(shard, 0, stream=NAME, behind_ms=2 * DAY_MS)
    shard.commit(caught_up=True)
    before = shard.status(NAME)
    assert before.late == {MINUTE_MS: 1}
    run_days(shard, 8)
    assert shard.status(NAME).retired_ms is not None
    assert kinds(shard) == KEPT
    return shard, before


def test_stream_that_returns_finds_totals_horizon_and_history():
    shard, before = retired()
    run_days(shard, 25)
    status = shard.status(NAME)
    assert (status.late, status.closed, status.watermark_ms) == (
        before.late,
        {(MINUTE_MS, Verdict.OK): 2},
        before.watermark_ms,
    )
    last = shard.state.streams[NAME].histories[MINUTE_MS, FIRST.key].end_ms
    assert status.final_ms == last, "the last window is final"
    # An event of the last window would begin it again, without those that were counted.
    for time_ms in (last - 1, last):
        shard.read((time_ms, 1), stream=NAME)
    results = shard.commit(caught_up=True) + shard.commit(after_ms=HOUR_MS, caught_up=True)
    assert [(each.window.start_ms, each.revision, each.count) for each in results] == [(last, 0, 1)]
    assert results[0].memory.recent == (False, False)
    status = shard.status(NAME)
    assert (status.late, status.closed) == ({MINUTE_MS: 2}, {(MINUTE_MS, Verdict.OK): 3})
    assert status.retired_ms is None
    assert shard.late == {(NAME, MINUTE_MS): 2}


def test_measurement_and_calibration_survive_retirement_and_are_gone_after_a_month():
    shard, _ = retired()
    shard.state.streams[NAME].remember(MINUTE_MS, FIRST.key, CALIBRATION)

    def known():
        read_now(shard, 0, stream=NAME)
        shard.commit(caught_up=True)
        state = shard.state.streams[NAME]
        measurement = state.measurements.get((MINUTE_MS, FIRST.key))
        windows = None if measurement is None else measurement.clean.all.windows.windows
        return windows, (MINUTE_MS, FIRST.key) in state.calibrations

    assert known() == (2, True)
    run_days(shard, 9 + 29)
    assert known() == (3, True), "retired again, for less than a month"
    run_days(shard, 9 + 31)
    assert NAME not in shard.state.streams
    assert kinds(shard) == []
    assert known() == (None, False)


def test_retired_stream_gives_back_its_place_and_may_find_none():
    shard, _ = retired(most=1)
    assert admitted(shard) == 0
    run_days(shard, 1, "tenant-b")
    run_days(shard, 1, NAME)
    assert (admitted(shard), shard.state.entries[TENANTS].surplus) == (1, 1)
    run_days(shard, 9)
    run_days(shard, 1, NAME)
    assert (admitted(shard), shard.state.entries[TENANTS].surplus) == (1, 1)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"entry": build_minute_spec(NAME)}, id="entry of its own"),
        pytest.param({"caught_up": [1]}, id="partition that is not read"),
        pytest.param({"sizes_ms": (MINUTE_MS, DAY_MS, 90 * DAY_MS)}, id="window that is open"),
    ],
)
def test_stream_is_not_retired(change):
    entry = change.get("entry")
    spec = tenants(sizes_ms=change.get("sizes_ms", (MINUTE_MS,)))
    shard = Shard(spec, *([entry] if entry else []), partitions=2)
    read_now(shard, 0, stream=NAME)
    shard.commit(caught_up=True)
    shard.commit(after_ms=HOUR_MS, caught_up=True)
    for _ in range(9):
        shard.commit(after_ms=DAY_MS, caught_up=change.get("caught_up", True))
    assert shard.status(NAME).retired_ms is None
    if not entry:
        while shard.status(NAME).retired_ms is None and shard.now_ms < MONDAY_MS + 50 * DAY_MS:
            shard.commit(after_ms=DAY_MS, caught_up=True)
        assert shard.status(NAME).retired_ms == shard.now_ms


def test_last_window_is_published_before_its_stream_retires():
    shard = Shard(tenants(sizes_ms=(MINUTE_MS, DAY_MS, 90 * DAY_MS)))
    shard.read((shard.now_ms, 0), (shard.now_ms, 1), stream=NAME)
    shard.commit(caught_up=True)
    results = run_days(shard, 40)
    assert {each.window.size_ms: each.count for each in results} == {MINUTE_MS: 2, DAY_MS: 2, 90 * DAY_MS: 2}
    assert not any(key.endswith("PublishedKey") for key in kinds(shard))


def test_stream_whose_entry_was_removed_retires_too():
    shard = Shard(build_minute_spec(), build_minute_spec(NAME))
    for stream in ("images", NAME):
        read_now(shard, 0, stream=stream)
    shard.write()
    shard.restart(build_minute_spec())
    shard.apply()
    shard.close()
    run_days(shard, 7)
    assert "PaneKey" in kinds(shard)
    run_days(shard, 2)
    assert kinds(shard) == ["StreamKey"]
    run_days(shard, 30)
    assert kinds(shard) == []
    assert "PublishedKey" in kinds(shard, "images"), "a stream with an entry stays"


def test_retired_stream_with_an_entry_of_its_own_is_not_forgotten():
    shard, before = retired()
    shard.restart(tenants(), build_minute_spec(NAME))
    run_days(shard, 60)
    assert shard.status(NAME).late == before.late
    run_days(shard, 1, NAME)
    assert shard.status(NAME).closed == {(MINUTE_MS, Verdict.OK): 3}
