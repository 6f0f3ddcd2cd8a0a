"""The metrics of a stream: totals, alarm, configuration, baseline, watermark, open windows."""

import numpy as np

from driftgauge.core.windows.result import Verdict
from driftgauge.telemetry.snapshot import take_snapshot
from driftgauge.telemetry.window_collector import WindowCollector
from tests.builders.clocks import DAY_MS, HOUR_MS
from tests.builders.references import build_reference
from tests.builders.results import build_result
from tests.builders.telemetry import (
    DAILY,
    FITTED_MS,
    HOURLY,
    build_shard,
    build_watched,
    collector_reader,
)


def test_totals_come_from_shard_state(show, exported):
    show(
        late={HOUR_MS: 5},
        closed={(HOUR_MS, Verdict.OK): 3, (HOUR_MS, Verdict.DRIFT): 1, (2 * HOUR_MS, Verdict.OK): 9},
        revised={DAY_MS: 2},
    )
    assert (exported("late_events_total", **HOURLY), exported("late_events_total", **DAILY)) == (5, 0)
    closed = {verdict: exported("windows_closed_total", **HOURLY, verdict=verdict) for verdict in Verdict}
    assert closed == {**dict.fromkeys(Verdict, 0), Verdict.OK: 3, Verdict.DRIFT: 1}
    assert exported("windows_closed_total", **DAILY, verdict="ok") == 0
    assert (exported("window_revisions_total", **HOURLY), exported("window_revisions_total", **DAILY)) == (
        0,
        2,
    )


def test_chain_breaks_are_counted_by_shard(show, exported):
    show(shard=3, chain=(1, 2, 4))
    names = ("partials_gap_total", "partials_overlap_total", "partials_orphans_total")
    assert [exported(name, shard="3") for name in names] == [1, 2, 4]
    assert [exported(name, shard="0") for name in names] == [None] * 3


def test_active_alarm_comes_from_state_not_newest_window(show, exported):
    show(build_result(verdict=Verdict.DRIFT), alarms=frozenset({HOUR_MS}))
    assert (exported("alarm_active", **HOURLY), exported("alarm_active", **DAILY)) == (1, 0)
    show(build_result((1, 0, 0, 0), number=2), alarms=frozenset({HOUR_MS}))
    assert exported("alarm_active", **HOURLY) == 1
    show(build_result(number=3))
    assert exported("alarm_active", **HOURLY) == 0


def test_configuration_is_exported_with_stream(show, exported):
    show(streams=("images", "texts"))
    assert exported("window_duration_seconds", stream="texts", window="1d") == 86_400
    assert exported("window_min_events", stream="texts", window="1h") == 20
    assert exported("window_overdue_seconds", **HOURLY) == 7_530
    assert exported("window_overdue_seconds", stream="texts", window="1h") == 43_200, (
        "overdue_after is configured"
    )
    assert exported("alarm_p_value", stream="images") == 0.001
    assert exported("alarm_js_excess", stream="images") == 0.005
    assert exported("alarm_mean_shift_excess", stream="images") == 0.025
    assert exported("alarm_novelty_excess_ratio", stream="images") == 0.01
    assert exported("alarm_spread_excess_ratio", stream="images") == 0.05
    assert exported("alarm_duplicates_ratio", stream="images") == 0.025
    assert exported("alarm_severity_info", stream="images", severity="warning") == 1
    assert exported("alarm_severity_info", stream="texts", severity="critical") == 1
    assert exported("baseline_info", stream="images", baseline="sha256:abc", model_version="v7") == 1
    assert exported("baseline_created_timestamp_seconds", stream="images") == FITTED_MS / 1000


def test_baseline_in_force_follows_wall_clock(clock):
    later = build_reference(baseline_id="sha256:def", counts=np.ones(4, np.int64))
    collector = WindowCollector([build_watched("images", (DAY_MS, later))], clock.clock)
    collector.show(0, take_snapshot(build_shard(), ["images"]))
    exported = collector_reader(collector)
    first = {"stream": "images", "baseline": "sha256:abc", "model_version": "v7"}
    second = {"stream": "images", "baseline": "sha256:def", "model_version": ""}
    clock.wall_ms = DAY_MS - 1
    assert (exported("baseline_info", **first), exported("baseline_info", **second)) == (1, None)
    clock.wall_ms = DAY_MS
    assert (exported("baseline_info", **first), exported("baseline_info", **second)) == (None, 1)


def test_unknown_watermark_is_absent(show, exported):
    show()
    assert exported("watermark_timestamp_seconds", stream="images") is None
    show(watermark_ms=30_500)
    assert exported("watermark_timestamp_seconds", stream="images") == 30.5


def test_open_windows_exclude_final_ones(show, exported):
    panes = [number * HOUR_MS for number in (24, 25, 26)]
    show(panes=panes)
    assert (exported("windows_open", **HOURLY), exported("windows_open", **DAILY)) == (3, 1)
    show(panes=panes, final_ms=26 * HOUR_MS)
    assert (exported("windows_open", **HOURLY), exported("windows_open", **DAILY)) == (1, 1)
