"""The status of a stream: its alarm, its last conclusion, the health of its data, and what is never green."""

from pathlib import Path

import numpy as np
import pytest
from starlette.datastructures import QueryParams

from driftgauge.config.inputs import InputSettings
from driftgauge.page.advice import next_steps, runbook_of, silence_of
from driftgauge.page.api_records import status_record
from driftgauge.page.overview import Overview
from driftgauge.page.queries import read_query
from driftgauge.page.service_watch import Refusal, ServiceFault, ServiceStatus
from driftgauge.page.states import STATES, URGENCY
from driftgauge.page.status import read_facts, stream_status
from driftgauge.page.story import tell_cause, tell_concern, tell_fault, tell_start
from driftgauge.page.summary import DETECTABLE, UNKNOWN, Names, Series
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.page import MadeResults, build_row, build_settings, record_tree

RUNBOOKS = Path(__file__).parents[2] / "deploy/runbooks"
HOURLY = build_settings([{"name": "s"}]).by_stream["s"]
HOURLY_AND_DAILY = build_settings([{"name": "s", "windows": ["1h", "1d"]}]).by_stream["s"]


def overdue_after(time):
    return {"settings": build_settings([{"name": "s", "overdue_after": time}]).by_stream["s"]}


INCONCLUSIVE = "DriftgaugeWindowsInconclusive"
AT_LIMIT = "no number of events suffices, since the baseline is the limit"
BLIND = dict.fromkeys(DETECTABLE, 0.001) | {"novelty": 0.03}
MEASURING = {"start": "2025-11-03T00:00:00Z", "until": "2025-11-17T00:00:00Z", "changed": None}
SLOW, (SEGMENT, *_) = (record_tree()[name] for name in ("slow_drift", "segments"))
# Changes of a window, by a letter; capital letters are alarms.
WINDOWS = {
    "o": ("ok", {"segments": [], "kind": None}),
    "b": ("ok", {"segments": [], "kind": None, "detectable": BLIND}),
    "n": ("ok", {"segments": [], "kind": None, "detectable": BLIND | {"novelty": None}}),
    "u": ("ok", {"segments": [], "kind": None, "detectable": {"js_divergence": 0.001}}),
    "e": ("ok", {"segments": [], "kind": None, "detectable": dict.fromkeys(DETECTABLE, 9)}),
    "q": ("ok", {"segments": [], "kind": None, "detectable": BLIND, "events_needed": 1_234}),
    # How much clean windows vary is measured still, again after the events changed.
    "p": ("ok", {"segments": [], "kind": None, "detectable": BLIND, "measuring": MEASURING}),
    "r": ("ok", {"segments": [], "kind": None, "measuring": MEASURING | {"changed": MEASURING["start"]}}),
    "W": ("warning", {"segments": [], "slow_drift": None}),
    "D": ("drift", {"segments": [], "slow_drift": None}),
    "E": ("drift", {"segments": [], "calibrated": False}),
    # Slow drift by the estimate from the first window on.
    "L": ("warning", {"segments": [], "kind": None}),
    "P": ("drift", {"segments": [], "kind": None, "slow_drift": SLOW | {"statistic": 4}}),
    "N": ("warning", {"segments": [], "kind": None, "slow_drift": SLOW | {"since": None}}),
    "S": ("ok", {}),
    "x": ("misfit", {"segments": [], "kind": None}),
    "f": ("insufficient", {"segments": [], "count": 35}),
    "m": ("incomplete", {"segments": [], "incomplete": [{"topic": "embeddings", "partition": 3}]}),
    "c": ("incomplete", {"segments": [], "incomplete_reason": "counted_otherwise"}),
    "g": ("ok", {"segments": [], "kind": None, "incomplete": [{"topic": "embeddings", "partition": 3}]}),
    "l": ("ok", {"segments": [], "kind": None, "events_lost": True}),
}
NAMES_OF = {"S": Names(drifting=("camera = dock-2",)), **dict.fromkeys("mg", Names("embeddings[3]"))}


VERDICT_OF = {"o": "ok", "w": "warning", "d": "drift", "f": "insufficient", "x": "misfit"}


def facts_of(windows, size_ms=HOUR_MS, own_baseline=0):
    """The facts of one window after another, each published at its end, the last under a new baseline."""
    rows = np.concatenate(
        [
            np.atleast_1d(build_row(number, WINDOWS[each][0], size_ms=size_ms, **WINDOWS[each][1]))
            for number, each in enumerate(windows)
        ]
    )
    rows["published_ms"] = rows["start_ms"] + size_ms
    rows["baseline"][len(rows) - own_baseline :] += 1
    starts_ms = rows["start_ms"].tolist()
    names = {
        start: NAMES_OF[each] for start, each in zip(starts_ms, windows, strict=True) if each in NAMES_OF
    }
    return read_facts(Series("s", size_ms), rows, names, HOURLY)


def status_of(windows, late_ms=0, settings=HOURLY, **options):
    """The status when the last window has just been published, or later."""
    now_ms = MONDAY_MS + len(windows) * HOUR_MS + late_ms
    return stream_status("s", [facts_of(windows)], settings, now_ms, **options)


@pytest.mark.parametrize(
    ("windows", "state", "since_hours", "concerns", "runbook"),
    [
        ("ooo", "ok", [], [], None),
        ("oDD", "drift", [1], [], "DriftgaugeDrift"),
        ("oWDW", "drift", [1], [], "DriftgaugeDrift"),
        # Of the last six windows of an alarm none says drift.
        ("oDWWWWW", "drift", [1], [], "DriftgaugeDrift"),
        ("oDWWWWWW", "warning", [1], [], "DriftgaugeDrift"),
        ("oLL", "warning", [0], [], "DriftgaugeSlowDrift"),
        ("oLP", "drift", [0], [], "DriftgaugeDrift"),
        ("oNN", "warning", [1], [], "DriftgaugeSlowDrift"),
        ("oWL", "warning", [1], [], "DriftgaugeDrift"),
        ("oSS", "segment", [1], [], "DriftgaugeSegmentDrift"),
        # At night, and while a partition is missing, the alarm goes on.
        ("oDDff", "drift", [1], [], "DriftgaugeDrift"),
        ("oDDmm", "drift", [1], ["incomplete"], "DriftgaugeDrift"),
        ("oDfmD", "drift", [1], [], "DriftgaugeDrift"),
        ("oDDoD", "drift", [4], [], "DriftgaugeDrift"),
        ("oDDo", "ok", [], [], None),
        # One alarm or two may be chance.
        ("DD", "drift", [0], [], "DriftgaugeDrift"),
        ("DDD", "misfit", [0], ["misfit"], "DriftgaugeWindowsInconclusive"),
        ("fDfDD", "misfit", [1], ["misfit"], "DriftgaugeWindowsInconclusive"),
        # The warm-up differs from the baseline.
        ("x", "misfit", [], ["misfit"], "DriftgaugeWindowsInconclusive"),
        ("xDDx", "misfit", [], ["misfit"], "DriftgaugeWindowsInconclusive"),
        ("om", "incomplete", [], ["incomplete"], "DriftgaugeWindowsInconclusive"),
        ("oc", "incomplete", [], ["incomplete"], "DriftgaugeWindowsInconclusive"),
        # Judged without a partition that was given up, or after Kafka deleted events.
        ("og", "incomplete", [], ["incomplete"], "DriftgaugeWindowsInconclusive"),
        ("ol", "incomplete", [], ["incomplete"], "DriftgaugeWindowsInconclusive"),
        ("ff", "insufficient", [], ["insufficient"], "DriftgaugeWindowsInconclusive"),
        ("of", "ok", [], [], None),
        # The smallest share of novel events worth finding is 0.02.
        ("bb", "ok", [], [], None),
        ("pp", "warming_up", [], ["warming_up"], "DriftgaugeWindowsInconclusive"),
        ("po", "ok", [], [], None),
        ("pD", "drift", [1], [], "DriftgaugeDrift"),
        # What the baseline does not allow to be tested is not blindness.
        ("uu", "ok", [], [], None),
        ("offf", "insufficient", [], ["insufficient"], "DriftgaugeWindowsInconclusive"),
    ],
)
def test_state_of_one_size(windows, state, since_hours, concerns, runbook):
    status = status_of(windows)
    assert status.state == state
    assert [(alarm.since_ms - MONDAY_MS) // HOUR_MS for alarm in status.alarms] == since_hours
    assert [concern.name for concern in status.concerns] == concerns
    assert runbook_of(status) == runbook
    # The advice is by the kind, here a shift, also of a segment.
    assert ("moves many inputs at once" in " ".join(next_steps(status))) is (
        bool(since_hours) and runbook not in {"DriftgaugeSlowDrift", INCONCLUSIVE} and "P" not in windows
    )
    assert bool(tell_cause(status)) is bool(since_hours)


@pytest.mark.parametrize(("windows", "is_named"), [("oDD", False), ("oEE", True)])
def test_advice_on_an_alarm_that_is_not_calibrated_names_its_size(windows, is_named):
    status = stream_status("s", [facts_of(windows, DAY_MS)], HOURLY, MONDAY_MS + 3 * DAY_MS)
    advice = " ".join(next_steps(status))
    assert ("How much clean windows of 1d vary is not measured" in advice) is is_named
    assert ("and --window 1d" in advice) is is_named


@pytest.mark.parametrize(
    ("hourly", "daily", "seen", "changed"),
    [
        # The hours say when on the day it began; too little of it may be in the hour before.
        (
            "o" * 39 + "D" * 9,
            "oD",
            ["between 4 Nov 2025, 14:00 UTC and 4 Nov 2025, 16:00 UTC"],
            "between 4 Nov 2025, 14:00 UTC and 4 Nov 2025, 16:00 UTC",
        ),
        # A night without a conclusion.
        (
            "o" * 20 + "f" * 6 + "D" * 22,
            "",
            ["between 3 Nov 2025, 19:00 UTC and 4 Nov 2025, 03:00 UTC"],
            "between 3 Nov 2025, 19:00 UTC and 4 Nov 2025, 03:00 UTC",
        ),
        # A day saw a segment before any hour saw it.
        (
            "o" * 50 + "D" * 46,
            "oSDD",
            [
                "between 5 Nov 2025, 01:00 UTC and 5 Nov 2025, 03:00 UTC",
                "between 3 Nov 2025, 00:00 UTC and 5 Nov 2025, 00:00 UTC",
                "between 4 Nov 2025, 00:00 UTC and 6 Nov 2025, 00:00 UTC",
            ],
            "between 3 Nov 2025, 00:00 UTC and 5 Nov 2025, 00:00 UTC",
        ),
        (
            "D" * 30,
            "",
            ["before 3 Nov 2025, 01:00 UTC"],
            # No change of the events explains it.
            "",
        ),
        ("ooLL", "", ["at about 3 Nov 2025, 00:00 UTC"], "at about 3 Nov 2025, 00:00 UTC"),
    ],
)
def test_beginning_is_told_by_the_finest_windows_that_saw_it(hourly, daily, seen, changed):
    facts = [facts_of(hourly), *([facts_of(daily, DAY_MS)] if daily else [])]
    settings = HOURLY_AND_DAILY if daily else HOURLY
    status = stream_status("s", facts, settings, MONDAY_MS + len(hourly) * HOUR_MS)
    assert [tell_start(alarm) for alarm in status.alarms][: len(seen)] == seen
    assert changed in " ".join(next_steps(status))
    record = status_record(status, HOURLY, "https://wiki.example")
    assert record.model_dump()["alarms"][0]["window"] == record.alarms[0].size


@pytest.mark.parametrize(
    ("segments", "part", "said"),
    [
        (
            {"dock-1": "ok", "dock-2": "drift"},
            "camera = dock-2",
            "; in camera = dock-2.",
        ),
        ({"dock-1": "drift", "dock-2": "drift"}, "", "(mean shift 0.817)."),
        ({"dock-1": "insufficient", "dock-2": "drift"}, "", "(mean shift 0.817)."),
    ],
)
def test_drift_of_some_segments_alone_is_not_told_as_drift_of_all(segments, part, said):
    results = MadeResults()
    results.publish(0, "ok", stream="s", segments=[])
    listed = [{**SEGMENT, "key": "camera", "value": name, "verdict": each} for name, each in segments.items()]
    results.publish(1, "drift", stream="s", segments=listed)
    status = Overview(results.history, build_settings()).status("s", MONDAY_MS)
    assert tell_cause(status).endswith(said)
    assert (f"Find what changed for {part} alone" in " ".join(next_steps(status))) is bool(part)


@pytest.mark.parametrize("value", [-0.067, 0.067])
def test_direction_of_spread_is_told(value):
    findings = record_tree()["findings"]
    findings["spread"]["value"] = value
    results = MadeResults()
    results.publish(0, "drift", stream="s", segments=[], kind="spread", findings=findings)
    status = Overview(results.history, build_settings()).status("s", MONDAY_MS)
    where = "nearer to" if value < 0 else "further from"
    size = f"{100 * value:+.1f} %"
    assert tell_cause(status) == f"Spread: events lie {where} the baseline's mean (spread {size})."


@pytest.mark.parametrize(
    ("windows", "late_ms", "options", "state", "is_old"),
    [
        # Two windows, half a minute and five minutes.
        ("oo", 2 * HOUR_MS + 330_000, {}, "ok", False),
        ("oo", 2 * HOUR_MS + 330_001, {}, "silent", True),
        ("oDD", DAY_MS, {}, "drift", True),
        ("oo", 0, {"is_cut_off": True}, "ok", True),
        ("oo", HOUR_MS, overdue_after("30m"), "silent", True),
        ("o" + "f" * 24, 0, overdue_after("3d"), "insufficient", False),
    ],
)
def test_what_is_old_is_marked_and_no_longer_ok(windows, late_ms, options, state, is_old):
    status = status_of(windows, late_ms, **options)
    assert (status.state, status.is_old) == (state, is_old)


@pytest.mark.parametrize(("windows", "state"), [("oo", "refused"), ("oDD", "drift"), ("", "refused")])
def test_refused_records_are_a_fault_of_the_stream(windows, state):
    now_ms = MONDAY_MS + len(windows) * HOUR_MS
    service = ServiceStatus({"s": Refusal(20_000, 40_000, "wrong_dimension")})
    facts = [facts_of(windows)] if windows else []
    status = stream_status("s", facts, HOURLY, now_ms, service=service)
    assert (status.state, status.is_old) == (state, False)
    assert tell_concern(status.concerns[0]) == (
        "of the records read in the last hour, 20,000 of 40,000 were refused, most as wrong dimension"
    )
    assert ("dead-letters show" in next_steps(status)[0]) is (state == "refused")


def test_streams_that_replicas_refuse_are_shown_where_the_configuration_has_them():
    refusal = Refusal(20_000, 40_000, "wrong_dimension")
    service = ServiceStatus(dict.fromkeys(["s", "cam-*", "removed"], refusal))
    settings = build_settings([{"name": "s"}, {"match": "cam-*", "most": 2}])
    statuses = Overview(MadeResults().history, settings).statuses(MONDAY_MS, service)
    assert [each.stream for each in statuses] == ["cam-*", "s"]


@pytest.mark.parametrize(
    ("windows", "late_ms", "is_told"),
    [("", 0, True), ("oo", DAY_MS, True), ("om", 0, True), ("oo", 0, False), ("oDD", DAY_MS, False)],
)
def test_what_holds_up_the_service_is_told_where_windows_are_missing(windows, late_ms, is_told):
    service = ServiceStatus(
        faults=(
            ServiceFault(name="transaction", subject="embeddings[3]"),
            ServiceFault(name="surplus", subject="cam-*", detail="7 events"),
        )
    )
    now_ms = MONDAY_MS + len(windows) * HOUR_MS + late_ms
    status = stream_status("s", [facts_of(windows)] if windows else [], HOURLY, now_ms, service=service)
    steps = " ".join(next_steps(status))
    assert (
        "A transaction does not end, and records after it are not read: embeddings[3]: " in steps
    ) is is_told
    assert "cam-*" not in steps


def late_facts_of(*totals, size_ms=HOUR_MS, starts=None):
    """The facts of windows in order, of which each result has these totals, (applied, late) or None."""
    rows = np.concatenate(
        [np.atleast_1d(build_row(at, "ok", size_ms=size_ms)) for at in starts or range(len(totals))]
    )
    rows["published_ms"] = rows["start_ms"] + size_ms
    rows["flags"] = 0
    rows["verdict"] = 0
    rows["applied_total"], rows["late_total"] = np.transpose([each or (UNKNOWN, UNKNOWN) for each in totals])
    return read_facts(Series("s", size_ms), rows, settings=HOURLY)


def many(hours, applied, late, first=(0, 0)):
    """The totals of this many hours, each with these events."""
    return [(first[0] + applied * hour, first[1] + late * hour) for hour in range(1, hours + 1)]


@pytest.mark.parametrize(
    ("unread", "said"),
    [
        ({}, ""),
        ({"embeddings": None}, ""),
        ({"embeddings": 3_200_000}, ", and 3,200,000 records are not read yet"),
        ({"embeddings": 0}, ", although all records are read"),
        # The topic holds another stream alone.
        ({"clicks": 7}, ""),
        ({"embeddings": 0, "clicks": 7}, ", although all records are read"),
        ({"embeddings": 0, "clicks": None}, ", although all records are read"),
    ],
)
def test_lag_is_said_where_it_is_known_of_all_topics_of_the_stream(unread, said):
    clicks = {"stream": {"constant": "clicks"}, "timestamp": "at", "embedding": "v"}
    streams = [{"name": name, "baseline": "unused", "windows": ["1h"]} for name in ("s", "clicks")]
    settings = build_settings(streams).model_copy(
        update={"inputs": {"clicks": InputSettings.model_validate(clicks)}}
    )
    results = MadeResults()
    for number in (-6, -5):
        results.publish(number, "ok", stream="s", segments=[], kind=None)
    service = ServiceStatus(unread=unread)
    status = Overview(results.history, settings).status("s", MONDAY_MS, service)
    assert [tell_concern(each) for each in status.concerns] == [
        f"1h: windows come long after their end{said}; the newest ended at 2 Nov 2025, 20:00 UTC"
    ]
    assert runbook_of(status) == "DriftgaugeLagGrowing"


@pytest.mark.parametrize(
    ("topics", "is_told"),
    [((), True), (("embeddings",), True), (("clicks",), False), (("clicks", "embeddings"), True)],
)
def test_cause_is_told_of_streams_that_the_topic_may_hold(topics, is_told):
    clicks = {"stream": {"constant": "clicks"}, "timestamp": "at", "embedding": "v"}
    streams = [{"name": name, "baseline": "unused", "windows": ["1h"]} for name in ("s", "clicks")]
    settings = build_settings(streams).model_copy(
        update={"inputs": {"clicks": InputSettings.model_validate(clicks)}}
    )
    service = ServiceStatus(
        faults=(ServiceFault(name="stopped", subject="a partition", topics=frozenset(topics)),)
    )
    overview = Overview(MadeResults().history, settings)
    causes = {each.stream: bool(each.held_up_by) for each in overview.statuses(MONDAY_MS, service)}
    assert causes == {"s": is_told, "clicks": True}


WARM_UP = {"from": "2025-11-03T00:00:00Z", "until": "2025-11-04T00:00:00Z"}
WARM_UP_SPAN = "the warm_up from 3 Nov 2025, 00:00 UTC to 4 Nov 2025, 00:00 UTC "


@pytest.mark.parametrize(
    ("hours", "changes", "later_ms", "said"),
    [
        (range(0), {}, HOUR_MS, None),
        (
            range(1),
            {},
            HOUR_MS,
            "has 1 window of 1h so far; it takes 20 of a length, or 14 of a day or longer",
        ),
        (
            range(19),
            {},
            DAY_MS,
            "has 19 windows of 1h so far; it takes 20 of a length, or 14 of a day or longer",
        ),
        (range(20), {}, DAY_MS, None),
        (range(0), {}, 2 * DAY_MS, None),
        # The baseline is calibrated without it.
        (
            range(24, 26),
            {},
            2 * DAY_MS,
            "has passed with no windows of 1h; it takes 20 of a length, or 14 of a day or longer",
        ),
        (
            range(5, 30),
            {},
            2 * DAY_MS,
            "has passed with 19 windows of 1h; it takes 20 of a length, or 14 of a day or longer",
        ),
        (range(4, 30), {}, 2 * DAY_MS, None),
        # Results so old are not kept, so only this is known.
        (range(800, 802), {}, 40 * DAY_MS, None),
        (
            range(800, 802),
            {"calibrated": False},
            40 * DAY_MS,
            "has passed with no windows of 1h; it takes 20 of a length, or 14 of a day or longer",
        ),
    ],
)
def test_warm_up_says_how_many_windows_it_has_while_these_are_too_few(hours, changes, later_ms, said):
    results = MadeResults()
    for hour in hours:
        results.publish(hour, "ok", stream="s", segments=[], kind=None, **changes)
    # A day is too short for windows of a day, which config check says.
    settings = build_settings([{"name": "s", "warm_up": WARM_UP, "windows": ["1h", "1d"]}])
    status = Overview(results.history, settings).status("s", MONDAY_MS + later_ms)
    assert status.notes == (() if said is None else (f"{WARM_UP_SPAN}{said}",))


@pytest.mark.parametrize(
    ("removed", "later", "seen", "changed", "is_noted"),
    [
        # The alarm goes on in longer windows.
        ("ooDDDD", "DDDD", "between 3 Nov 2025, 01:00 UTC and 3 Nov 2025, 08:00 UTC (2h)", "01:00", True),
        # No longer window has ended, or has a conclusion.
        ("ooDDDD", "", "between 3 Nov 2025, 01:00 UTC and 3 Nov 2025, 03:00 UTC (1h)", "01:00", True),
        ("ooDDDD", "m", "between 3 Nov 2025, 01:00 UTC and 3 Nov 2025, 03:00 UTC (1h)", "01:00", True),
        # It ended, and another began.
        ("ooDDDD", "oDDD", "between 3 Nov 2025, 06:00 UTC and 3 Nov 2025, 10:00 UTC (2h)", "06:00", True),
        # All was well until the change.
        ("oooooo", "DDDD", "between 3 Nov 2025, 05:00 UTC and 3 Nov 2025, 08:00 UTC (2h)", "05:00", False),
        ("ooDDDD", "oooo", "", "", True),
    ],
)
def test_removed_size_dates_the_incident_and_says_what_became_of_its_alert(
    removed, later, seen, changed, is_noted
):
    results = MadeResults()
    for size_ms, first, letters in ((HOUR_MS, 0, removed), (2 * HOUR_MS, 3, later)):
        for number, letter in enumerate(letters):
            verdict, changes = WINDOWS[letter]
            results.publish(first + number, verdict, stream="s", size_ms=size_ms, **changes)
    settings = build_settings([{"name": "s", "windows": ["2h"]}])
    now_ms = MONDAY_MS + 15 * HOUR_MS
    status = Overview(results.history, settings).status("s", now_ms)
    assert [f"{tell_start(each)} ({each.size})" for each in status.alarms[:1]] == list(filter(None, [seen]))
    steps = " ".join(next_steps(status))
    assert (f"between 3 Nov 2025, {changed} UTC and" in steps) is bool(changed)
    assert "baseline is this model's" not in steps
    said = "windows of 1h are not configured, so the alert on their alarm since 3 Nov 2025, 02:00 UTC ends"
    assert [each.startswith(said) for each in status.notes] == [True] * is_noted
    # Of windows that no longer come, nothing ends the alarm.
    assert ("the alarm ends" in steps, silence_of(status) is not None) == ("D" in later, "D" in later)
    assert not [each for each in status.concerns if each.size == "1h"], "no removed size is silent"
    opened = read_query(results.history, settings.by_stream, QueryParams({"stream": "s"}))
    assert opened.size == ("2h" if later else "1h")
    assert status.leading is None or status.leading.size == ("2h" if "D" in later else "1h")
    assert opened.removed == ("1h",)


@pytest.mark.parametrize(
    ("totals", "since_hour", "detail"),
    [
        # More than one in twenty, of 20 late events or more.
        (many(10, 1_000, 50), None, None),
        (many(10, 1_000, 51), 0, "5.1 % of 9,000 events"),
        ([(30, 3)], None, None),
        ([(19, 19)], None, None),
        ([(20, 20)], 0, "100 % of 20 events"),
        # Of the last day; before it all was well, or nothing.
        (many(100, 1_000, 0) + many(3, 1_000, 2_000 // 3, (100_000, 0)), 101, "8.3 % of 24,000 events"),
        (many(48, 100, 100) + many(23, 1_000, 0, (4_800, 4_800)), None, None),
        (many(48, 100, 100) + many(22, 100, 0, (4_800, 4_800)), 0, "8.3 % of 2,400 events"),
        # One round of a backlog closes all windows, or all but the first.
        ([(9_000, 4_500)] * 50, 0, "50 % of 9,000 events"),
        ([(5_000, 0), *[(9_000, 2_000)] * 50], 1, "50 % of 4,000 events"),
        # A correction of an earlier window has later totals.
        ([(1_000, 0), (9_000, 4_000), (2_000, 100), (3_000, 200)], 1, "10 % of 2,000 events"),
        # The state of the shard began again.
        ([*many(50, 1_000, 900), *many(3, 1_000, 100)], 0, "10 % of 2,000 events"),
        # Results of an earlier version.
        ([None, None], None, None),
        ([None, None, (1_000, 100), None], 2, "10 % of 1,000 events"),
    ],
)
def test_late_events_are_a_fault_of_their_window_size(totals, since_hour, detail):
    facts = late_facts_of(*totals)
    now_ms = MONDAY_MS + len(totals) * HOUR_MS
    status = stream_status("s", [facts], HOURLY, now_ms)
    expected = [] if since_hour is None else [("late", "1h", MONDAY_MS + since_hour * HOUR_MS, detail)]
    assert [(each.name, each.size, each.since_ms, each.detail) for each in status.concerns] == expected
    assert status.state == ("late" if expected else "ok")
    if expected:
        assert tell_concern(status.concerns[0]).startswith(f"1h: {detail} came too late to be counted since ")
        assert runbook_of(status) == "DriftgaugeWindowsInconclusive"


def test_longer_window_that_counts_late_events_does_not_hide_the_fault():
    hourly, daily = late_facts_of(*many(48, 100, 58)), late_facts_of((2_400, 0), (4_800, 0), size_ms=DAY_MS)
    status = stream_status("s", [hourly, daily], HOURLY_AND_DAILY, MONDAY_MS + 2 * DAY_MS)
    assert (status.state, [size.state for size in status.sizes]) == ("late", ["late", "ok"])


SILENT = "1h: no new window since 3 Nov 2025, 03:00 UTC"
BEHIND = "1h: windows come long after their end; the newest ended at 3 Nov 2025, 03:00 UTC"


@pytest.mark.parametrize(
    ("pace_min", "later_min", "settings", "state", "said"),
    [
        # Of a backlog, a window comes every ten minutes: the next is due within twice that, and 5.5 minutes.
        (10, 25, {}, "behind", BEHIND),
        (10, 26, {}, "silent", SILENT),
        # An hour a minute: the backlog ends before long, and nobody sends at night.
        (1, 7, {}, "behind", BEHIND),
        (1, 8, {}, "silent", SILENT),
        # As slow as the events themselves.
        (90, 125, {}, "behind", BEHIND),
        (90, 126, {}, "silent", SILENT),
        # The stream is allowed to pause for so long.
        (1, 8, overdue_after("12h"), "ok", ""),
    ],
)
def test_backlog_that_is_read_to_its_end_is_no_longer_behind(pace_min, later_min, settings, state, said):
    rows = np.concatenate([np.atleast_1d(build_row(hour, "ok", segments=[], kind=None)) for hour in range(3)])
    ended_ms = MONDAY_MS + 3 * HOUR_MS
    rows["published_ms"] = ended_ms + 11 * HOUR_MS + MINUTE_MS * pace_min * np.arange(-2, 1)
    now_ms = int(rows["published_ms"][-1]) + later_min * MINUTE_MS + 29_000
    facts = read_facts(Series("s", HOUR_MS), rows)
    status = stream_status("s", [facts], settings.get("settings", HOURLY), now_ms)
    assert status.state == state
    assert [tell_concern(each) for each in status.concerns] == ([said] if said else [])


@pytest.mark.parametrize(
    ("windows", "under_it", "misfit_hours"),
    [("oDDDDD", 1, []), ("oDDc", 1, []), ("oDDDDD", 3, [3]), ("xxDDD", 3, [2]), ("oDDDxx", 2, [4])],
)
def test_alarms_under_a_new_baseline_alone_say_whether_it_fits(windows, under_it, misfit_hours):
    facts = facts_of(windows, own_baseline=under_it)
    status = stream_status("s", [facts], HOURLY, MONDAY_MS + len(windows) * HOUR_MS)
    found = [each.since_ms for each in status.concerns if each.name == "misfit"]
    assert found == [MONDAY_MS + hours * HOUR_MS for hours in misfit_hours]
    assert ("baseline is this model's" in next_steps(status)[0]) is bool(misfit_hours)


@pytest.mark.parametrize("end", ["00", "ab"])
def test_baseline_is_told_apart_from_one_whose_hash_ends_alike(end):
    results = MadeResults()
    for number, (verdict, letter) in enumerate([("ok", "a")] * 3 + [("drift", "b")] * 3):
        changes = {"stream": "s", "segments": [], "baseline": f"sha256:{letter * 62}{end}"}
        results.publish(number, verdict, **changes)
    status = Overview(results.history, build_settings()).status("s", MONDAY_MS)
    assert [each.since_ms for each in status.concerns if each.name == "misfit"] == [MONDAY_MS + 3 * HOUR_MS]


@pytest.mark.parametrize(
    ("changes", "fault", "said"),
    [
        (
            {"incomplete": [{"topic": "t", "partition": 1}] * 4, "incomplete_reason": "partitions_missing"},
            "partitions_missing",
            "t[1], t[1], t[1] and 1 more not read to the end",
        ),
        # A partition was given up before.
        (
            {"incomplete": [{"topic": "t", "partition": 1}], "incomplete_reason": "counted_otherwise"},
            "counted_otherwise",
            "counted under another baseline, or in other panes or segments",
        ),
        ({"incomplete_reason": "panes_purged"}, "panes_purged", "a part of the counts is missing"),
        ({"incomplete_reason": "counted_twice"}, "counted_twice", "events may have been counted twice"),
        ({"incomplete_reason": "new_reason"}, "other", "the counts are in doubt (new reason)"),
        ({}, "other", "the counts are in doubt"),
    ],
)
def test_why_a_window_is_incomplete_is_one_of_a_list(changes, fault, said):
    results = MadeResults()
    results.publish(0, "incomplete", stream="s", segments=[], **changes)
    status = Overview(results.history, build_settings()).status("s", MONDAY_MS)
    (concern,) = (each for each in status.concerns if each.name == "incomplete")
    assert (status.state, concern.fault, tell_fault(concern)) == ("incomplete", fault, said)


@pytest.mark.parametrize(("changes", "is_noted"), [({"calibrated": False}, True), ({}, False)])
def test_windows_that_the_warm_up_is_too_short_for_do_not_wait_for_it(changes, is_noted):
    results = MadeResults()
    for hour in range(24):
        results.publish(hour, "ok", stream="s", segments=[], kind=None, measuring=MEASURING)
    results.publish(0, "ok", stream="s", size_ms=DAY_MS, segments=[], kind=None, **changes)
    settings = build_settings([{"name": "s", "warm_up": WARM_UP, "windows": ["1h", "1d"]}])
    status = Overview(results.history, settings).status("s", MONDAY_MS + DAY_MS)
    assert [each.size for each in status.concerns if each.name == "warming_up"] == ["1h"]
    said = f"{WARM_UP_SPAN}is too short for windows of 1d; it takes 20 of a length, or 14 of a day or longer"
    assert status.notes == ((said,) if is_noted else ())


def overview_status(series, configured):
    """The status by published windows, of "1h" and "1d", each of one segment with these verdicts."""
    results = MadeResults()
    for size, verdicts in series.items():
        for number, letter in enumerate(verdicts):
            segment = {"key": "country", "value": "de", "adjusted_p_value": None}
            listed = [] if letter in "-mD" else [segment | {"verdict": VERDICT_OF[letter]}]
            size_ms = {"1h": HOUR_MS, "1d": DAY_MS}[size]
            verdict = {"m": "incomplete", "D": "drift"}.get(letter, "ok")
            results.publish(number, verdict, stream="s", size_ms=size_ms, segments=listed, kind=None)
    settings = build_settings([{"name": "s", "windows": configured}])
    return Overview(results.history, settings).status("s", MONDAY_MS)


@pytest.mark.parametrize(
    ("hourly", "daily", "state", "since_hours", "detail"),
    [
        ("f" * 24, "", "unclear", [0], "too few events"),
        ("f" * 23, "", "ok", [], ""),
        ("o" + "f" * 24, "", "unclear", [1], "too few events"),
        ("of" + "o" * 22 + "f" * 23, "", "ok", [], ""),
        ("o" + "wff" * 8, "", "unclear", [1], "too few events"),
        ("w" * 24, "", "unclear", [0], "possible drift"),
        ("x" * 24, "", "unclear", [0], "baseline does not fit"),
        # An incomplete window says nothing.
        ("f" * 12 + "m" + "f" * 11, "", "unclear", [0], "too few events"),
        # Its drift is an alarm.
        ("o" + "d" * 24, "", "segment", [], ""),
        # It is no longer judged.
        ("f" * 24 + "-", "", "ok", [], ""),
        # Longer windows have enough events.
        ("f" * 24, "o", "ok", [0], "too few events"),
        ("o" * 24, "f", "unclear", [0], "too few events"),
    ],
)
def test_segment_that_no_window_of_a_day_finds_in_order_is_named(hourly, daily, state, since_hours, detail):
    status = overview_status({"1h": hourly, "1d": daily}, ["1h", "1d"] if daily else ["1h"])
    assert status.state == state
    assert [(each.name, each.since_ms) for each in status.concerns] == [
        ("unclear", MONDAY_MS + hours * HOUR_MS) for hours in since_hours
    ]
    assert all(each.detail == f"country = de ({detail})" for each in status.concerns)


@pytest.mark.parametrize(
    ("series", "configured", "state"),
    [
        ({"1d": "oo"}, ["1h"], "waiting"),
        ({"1h": "d", "1d": "oo"}, ["1d"], "ok"),
        # An alarm is news until another size has concluded on later events.
        ({"1h": "oDD"}, ["1d"], "drift"),
        ({"1h": "oDD", "1d": "o"}, ["1d"], "ok"),
        ({"1h": "oDDo"}, ["1d"], "waiting"),
        ({"1h": "o" * 24 + "DD", "1d": "o"}, ["1d"], "drift"),
        ({"1h": "o" * 24 + "DD", "1d": "om"}, ["1d"], "drift"),
        ({"1h": "o" * 24 + "DD", "1d": "oo"}, ["1d"], "ok"),
    ],
)
def test_size_that_was_removed_says_its_last_alarm_alone(series, configured, state):
    assert overview_status(series, configured).state == state


def test_longer_windows_that_are_well_cover_a_night_of_shorter_ones():
    daily = facts_of("oo", DAY_MS)
    nightly = facts_of("o" * 40 + "f" * 8)
    status = stream_status("s", [nightly, daily], HOURLY_AND_DAILY, MONDAY_MS + 2 * DAY_MS)
    assert (status.state, status.is_old) == ("ok", False)
    (concern,) = status.concerns
    assert tell_concern(concern) == (
        "1h: too few events to see anything since 4 Nov 2025, 16:00 UTC (35 events in the newest window)"
    )
    shorter_ok = stream_status(
        "s", [facts_of("o" * 48), facts_of("ff", DAY_MS)], HOURLY_AND_DAILY, MONDAY_MS + 2 * DAY_MS
    )
    assert shorter_ok.state == "insufficient"


@pytest.mark.parametrize("state", URGENCY)
def test_every_state_but_ok_has_a_runbook(state):
    assert state == "ok" or (RUNBOOKS / f"{STATES[state].runbook}.md").exists()


def test_stream_without_results_waits():
    status = stream_status("s", [], HOURLY, MONDAY_MS)
    assert (status.state, status.is_old, status.concluded_ms) == ("waiting", True, None)
    assert [(each.size, each.name) for each in status.concerns] == [("1h", "waiting")]
    assert runbook_of(status) == "DriftgaugeWindowsOverdue"
    assert next_steps(status)


@pytest.mark.parametrize(
    ("windows", "text"),
    [
        ("omm", "1h: embeddings[3] not read to the end since 3 Nov 2025, 01:00 UTC"),
        (
            "oc",
            "1h: counted under another baseline, or in other panes or segments since 3 Nov 2025, 01:00 UTC",
        ),
        ("ol", "1h: events have been lost since 3 Nov 2025, 01:00 UTC"),
        (
            "ff",
            "1h: too few events to see anything since 3 Nov 2025, 00:00 UTC (35 events in the newest window)",
        ),
        (
            "pp",
            "1h: how much clean windows vary is measured until 17 Nov 2025, 00:00 UTC; only gross drift "
            "pages",
        ),
        (
            "rr",
            "1h: how much clean windows vary is measured until 17 Nov 2025, 00:00 UTC; the events changed "
            "at 3 Nov 2025, 00:00 UTC; only gross drift pages",
        ),
        ("DDD", "1h: every window differs from the baseline since 3 Nov 2025, 00:00 UTC"),
    ],
)
def test_concern_is_told_with_its_cause_and_start(windows, text):
    status = status_of(windows)
    assert tell_concern(status.concerns[0]) == text


@pytest.mark.parametrize(
    ("windows", "said"),
    [
        ("bo" + "b" * 24, f"smallest_drift.novelty; {AT_LIMIT}"),
        ("qq", "smallest_drift.novelty; that takes about 1,234 events a window"),
        ("nn", f"smallest_drift.novelty; {AT_LIMIT}"),
        ("ee", f"any smallest_drift; {AT_LIMIT}"),
        ("bob", ""),
        # What can be seen is not known yet.
        ("pp", ""),
    ],
)
def test_what_no_window_can_see_is_noted_beside_its_verdict(windows, said):
    status = status_of(windows)
    assert (status.notes, status.unseen) == ((), (f"no window of 1h can see {said}",) if said else ())
    assert status.state in {"ok", "warming_up"}


@pytest.mark.parametrize(
    ("hourly", "daily", "said"),
    [
        ("oo", "", ["novelty below 1.0 %", "divergence below 0.00800"]),
        # The days see more than the hours.
        ("q" * 24, "o", ["novelty below 1.0 %", "divergence below 0.00100"]),
        ("ee", "", ["novelty below 900 %", "divergence below 9.00"]),
        ("pp", "", []),
        ("ff", "", []),
        ("nn", "", ["divergence below 0.00100", "mean shift below 0.00100"]),
    ],
)
def test_limit_of_sight_is_that_of_the_windows_that_see_most(hourly, daily, said):
    facts = [facts_of(hourly), *([facts_of(daily, DAY_MS)] if daily else [])]
    status = stream_status("s", facts, HOURLY_AND_DAILY, MONDAY_MS + len(hourly) * HOUR_MS)
    assert [*status.sight[:2]] == said
    assert len(status.sight) in (0, 6, 7)
