"""The status of a stream: its alarm, its last conclusion, the health of its data, and what is never green."""

from pathlib import Path

import numpy as np
import pytest
from starlette.datastructures import QueryParams

from driftgauge.config.inputs import InputSettings
from driftgauge.page.advice import next_steps, runbook_of, silence_of
from driftgauge.page.overview import Overview
from driftgauge.page.queries import read_query
from driftgauge.page.service_watch import Refusal, ServiceFault, ServiceStatus
from driftgauge.page.states import STATES, URGENCY
from driftgauge.page.status import read_facts, stream_status
from driftgauge.page.story import tell_cause, tell_concern, tell_fault, tell_start
from driftgauge.page.summary import DETECTABLE, UNKNOWN, Names, Series
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.page import MadeResults, build_row, build_settings, publish, record_tree

RUNBOOKS = Path(__file__).parents[2] / "deploy/runbooks"
HOURLY = build_settings([{"name": "s"}]).by_stream["s"]
HOURLY_AND_DAILY = build_settings([{"name": "s", "windows": ["1h", "1d"]}]).by_stream["s"]


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


def status_of(hourly, daily="", late_ms=0, own_baseline=0, service=None, *, is_cut_off=False, **settings):
    """The status of windows when the last hour has just been published, or later."""
    facts = [
        facts_of(windows, size_ms, own_baseline)
        for windows, size_ms in ((hourly, HOUR_MS), (daily, DAY_MS))
        if windows
    ]
    sizes = {"windows": ["1h", "1d"]} if daily else {}
    configured = build_settings([{"name": "s"} | sizes | settings]).by_stream["s"]
    now_ms = MONDAY_MS + len(hourly) * HOUR_MS + late_ms
    return stream_status(
        "s", facts, configured, now_ms, service=service or ServiceStatus(), is_cut_off=is_cut_off
    )


def hour_of(fact):
    return None if fact.since_ms is None else (fact.since_ms - MONDAY_MS) // HOUR_MS


def check(status, says=(), lacks=(), **expected):
    """Assert what is known of a status, and parts of what its cause and the next steps say."""
    told = {
        "state": status.state,
        "is_old": status.is_old,
        "since": [hour_of(alarm) for alarm in status.alarms],
        "began": [tell_start(alarm) for alarm in status.alarms],
        "leads": [tell_start(alarm) for alarm in status.alarms[:1]],
        "concerns": [concern.name for concern in status.concerns],
        "details": [(each.name, each.size, hour_of(each), each.detail) for each in status.concerns],
        "misfits": [hour_of(each) for each in status.concerns if each.name == "misfit"],
        "warming_up": [each.size for each in status.concerns if each.name == "warming_up"],
        "faults": [(each.fault, tell_fault(each)) for each in status.concerns],
        "told": [tell_concern(concern) for concern in status.concerns],
        "notes": status.notes,
        "unseen": status.unseen,
        "sight": status.sight[:2],
        "runbook": runbook_of(status),
        "is_silenced": silence_of(status) is not None,
        "cause": tell_cause(status),
    }
    assert {name: told[name] for name in expected} == expected
    text = " ".join([told["cause"], *next_steps(status)])
    assert [part for part in says if part not in text] == [], text
    assert [part for part in lacks if part in text] == []


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
    check(status, state=state, since=since_hours, concerns=concerns, runbook=runbook)
    # The advice is by the kind, here a shift, also of a segment.
    assert ("moves many inputs at once" in " ".join(next_steps(status))) is (
        bool(since_hours) and runbook not in {"DriftgaugeSlowDrift", INCONCLUSIVE} and "P" not in windows
    )
    assert bool(tell_cause(status)) is bool(since_hours)


REFUSING = ServiceStatus({"s": Refusal(20_000, 40_000, "wrong_dimension")})
REFUSED = "of the records read in the last hour, 20,000 of 40,000 were refused, most as wrong dimension"
HELD_UP = ServiceStatus(
    faults=(
        ServiceFault(name="transaction", subject="embeddings[3]"),
        ServiceFault(name="surplus", subject="cam-*", detail="7 events"),
    )
)
HANGING = "A transaction does not end, and records after it are not read: embeddings[3]: "
MEASURED = "1h: how much clean windows vary is measured until 17 Nov 2025, 00:00 UTC"
FEW_EVENTS = "1h: too few events to see anything since "
UNSEEN = "no window of 1h can see "


@pytest.mark.parametrize(
    ("windows", "options", "expected"),
    [
        # Two windows, half a minute and five minutes.
        (["oo"], {"late_ms": 2 * HOUR_MS + 330_000}, {"state": "ok", "is_old": False}),
        (["oo"], {"late_ms": 2 * HOUR_MS + 330_001}, {"state": "silent", "is_old": True}),
        (["oDD"], {"late_ms": DAY_MS}, {"state": "drift", "is_old": True}),
        (["oo"], {"is_cut_off": True}, {"state": "ok", "is_old": True}),
        (["oo"], {"late_ms": HOUR_MS, "overdue_after": "30m"}, {"state": "silent", "is_old": True}),
        (["o" + "f" * 24], {"overdue_after": "3d"}, {"state": "insufficient", "is_old": False}),
        (
            [""],
            {},
            {
                "state": "waiting",
                "is_old": True,
                "details": [("waiting", "1h", None, "")],
                "runbook": "DriftgaugeWindowsOverdue",
                "says": ["Check that producers send events under this name"],
            },
        ),
        # Records are refused.
        (
            ["oo"],
            {"service": REFUSING},
            {"state": "refused", "is_old": False, "told": [REFUSED], "says": ["dead-letters show"]},
        ),
        (["oDD"], {"service": REFUSING}, {"state": "drift", "is_old": False, "told": [REFUSED]}),
        ([""], {"service": REFUSING}, {"state": "refused", "is_old": False, "says": ["dead-letters show"]}),
        # What holds up the service is told where windows are missing.
        ([""], {"service": HELD_UP}, {"says": [HANGING], "lacks": ["cam-*"]}),
        (["oo"], {"service": HELD_UP, "late_ms": DAY_MS}, {"says": [HANGING], "lacks": ["cam-*"]}),
        (["om"], {"service": HELD_UP}, {"says": [HANGING], "lacks": ["cam-*"]}),
        (["oo"], {"service": HELD_UP}, {"lacks": [HANGING, "cam-*"]}),
        (["oDD"], {"service": HELD_UP, "late_ms": DAY_MS}, {"lacks": [HANGING, "cam-*"]}),
        # Alarms under a new baseline alone say whether it fits.
        (["oDDDDD"], {"own_baseline": 1}, {"misfits": [], "lacks": ["baseline is this model's"]}),
        (["oDDc"], {"own_baseline": 1}, {"misfits": [], "lacks": ["baseline is this model's"]}),
        (["oDDDDD"], {"own_baseline": 3}, {"misfits": [3], "says": ["baseline is this model's"]}),
        (["xxDDD"], {"own_baseline": 3}, {"misfits": [2], "says": ["baseline is this model's"]}),
        (["oDDDxx"], {"own_baseline": 2}, {"misfits": [4], "says": ["baseline is this model's"]}),
        # An alarm that is not calibrated names its size.
        (["", "oDD"], {"late_ms": 3 * DAY_MS}, {"lacks": ["is not measured", "--window 1d"]}),
        (
            ["", "oEE"],
            {"late_ms": 3 * DAY_MS},
            {"says": ["How much clean windows of 1d vary is not measured", "and --window 1d"]},
        ),
        # Longer windows that are well cover a night of shorter ones.
        (
            ["o" * 40 + "f" * 8, "oo"],
            {},
            {
                "state": "ok",
                "is_old": False,
                "told": [f"{FEW_EVENTS}4 Nov 2025, 16:00 UTC (35 events in the newest window)"],
            },
        ),
        (["o" * 48, "ff"], {}, {"state": "insufficient"}),
        # The hours say when on the day it began; too little of it may be in the hour before.
        (
            ["o" * 39 + "D" * 9, "oD"],
            {},
            {
                "leads": ["between 4 Nov 2025, 14:00 UTC and 4 Nov 2025, 16:00 UTC"],
                "says": ["between 4 Nov 2025, 14:00 UTC and 4 Nov 2025, 16:00 UTC"],
            },
        ),
        # A night without a conclusion.
        (
            ["o" * 20 + "f" * 6 + "D" * 22],
            {},
            {
                "leads": ["between 3 Nov 2025, 19:00 UTC and 4 Nov 2025, 03:00 UTC"],
                "says": ["between 3 Nov 2025, 19:00 UTC and 4 Nov 2025, 03:00 UTC"],
            },
        ),
        # A day saw a segment before any hour saw it.
        (
            ["o" * 50 + "D" * 46, "oSDD"],
            {},
            {
                "began": [
                    "between 5 Nov 2025, 01:00 UTC and 5 Nov 2025, 03:00 UTC",
                    "between 3 Nov 2025, 00:00 UTC and 5 Nov 2025, 00:00 UTC",
                    "between 4 Nov 2025, 00:00 UTC and 6 Nov 2025, 00:00 UTC",
                ],
                "says": ["between 3 Nov 2025, 00:00 UTC and 5 Nov 2025, 00:00 UTC"],
            },
        ),
        # No change of the events explains it.
        (
            ["D" * 30],
            {},
            {"leads": ["before 3 Nov 2025, 01:00 UTC"], "lacks": ["Find what changed"]},
        ),
        (
            ["ooLL"],
            {},
            {"leads": ["at about 3 Nov 2025, 00:00 UTC"], "says": ["at about 3 Nov 2025, 00:00 UTC"]},
        ),
        # A concern is told with its cause and start.
        (["omm"], {}, {"told": ["1h: embeddings[3] not read to the end since 3 Nov 2025, 01:00 UTC"]}),
        (
            ["oc"],
            {},
            {
                "told": [
                    "1h: counted under another baseline, or in other panes or segments since 3 Nov 2025, "
                    "01:00 UTC"
                ]
            },
        ),
        (["ol"], {}, {"told": ["1h: events have been lost since 3 Nov 2025, 01:00 UTC"]}),
        (["ff"], {}, {"told": [f"{FEW_EVENTS}3 Nov 2025, 00:00 UTC (35 events in the newest window)"]}),
        (["pp"], {}, {"told": [f"{MEASURED}; only gross drift pages"]}),
        (
            ["rr"],
            {},
            {"told": [f"{MEASURED}; the events changed at 3 Nov 2025, 00:00 UTC; only gross drift pages"]},
        ),
        (["DDD"], {}, {"told": ["1h: every window differs from the baseline since 3 Nov 2025, 00:00 UTC"]}),
        # What no window can see is noted beside its verdict.
        (
            ["bo" + "b" * 24],
            {},
            {"state": "ok", "notes": (), "unseen": (f"{UNSEEN}smallest_drift.novelty; {AT_LIMIT}",)},
        ),
        (
            ["qq"],
            {},
            {"unseen": (f"{UNSEEN}smallest_drift.novelty; that takes about 1,234 events a window",)},
        ),
        (
            ["nn"],
            {},
            {
                "unseen": (f"{UNSEEN}smallest_drift.novelty; {AT_LIMIT}",),
                "sight": ("divergence below 0.00100", "mean shift below 0.00100"),
            },
        ),
        (
            ["ee"],
            {},
            {
                "unseen": (f"{UNSEEN}any smallest_drift; {AT_LIMIT}",),
                "sight": ("novelty below 900 %", "divergence below 9.00"),
            },
        ),
        (["bob"], {}, {"unseen": ()}),
        # What can be seen is not known yet.
        (["pp"], {}, {"state": "warming_up", "notes": (), "unseen": (), "sight": ()}),
        (["ff"], {}, {"sight": ()}),
        (["oo"], {}, {"sight": ("novelty below 1.0 %", "divergence below 0.00800")}),
        # The days see more than the hours.
        (["q" * 24, "o"], {}, {"sight": ("novelty below 1.0 %", "divergence below 0.00100")}),
    ],
)
def test_status_of_windows(windows, options, expected):
    check(status_of(*windows, **options), **expected)


def late_facts_of(*totals, size_ms=HOUR_MS):
    """The facts of windows in order, of which each result has these totals, (applied, late) or None."""
    rows = np.concatenate(
        [np.atleast_1d(build_row(number, "ok", size_ms=size_ms)) for number in range(len(totals))]
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
    status = stream_status("s", [late_facts_of(*totals)], HOURLY, MONDAY_MS + len(totals) * HOUR_MS)
    if since_hour is None:
        check(status, state="ok", concerns=[])
    else:
        check(status, state="late", details=[("late", "1h", since_hour, detail)], runbook=INCONCLUSIVE)
        assert tell_concern(status.concerns[0]).startswith(f"1h: {detail} came too late to be counted since ")


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
        (1, 8, {"overdue_after": "12h"}, "ok", ""),
    ],
)
def test_backlog_that_is_read_to_its_end_is_no_longer_behind(pace_min, later_min, settings, state, said):
    rows = np.concatenate([np.atleast_1d(build_row(hour, "ok", segments=[], kind=None)) for hour in range(3)])
    ended_ms = MONDAY_MS + 3 * HOUR_MS
    rows["published_ms"] = ended_ms + 11 * HOUR_MS + MINUTE_MS * pace_min * np.arange(-2, 1)
    now_ms = int(rows["published_ms"][-1]) + later_min * MINUTE_MS + 29_000
    facts = read_facts(Series("s", HOUR_MS), rows)
    status = stream_status("s", [facts], build_settings([{"name": "s"} | settings]).by_stream["s"], now_ms)
    check(status, state=state, told=[said] if said else [])


CLICKS = {"stream": {"constant": "clicks"}, "timestamp": "at", "embedding": "v"}
TWO_TOPICS = build_settings([{"name": "s"}, {"name": "clicks"}]).model_copy(
    update={"inputs": {"clicks": InputSettings.model_validate(CLICKS)}}
)


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
    windows = [("ok", {"number": number}) for number in (-6, -5)]
    results = publish(*windows, stream="s", segments=[], kind=None)
    status = Overview(results.history, TWO_TOPICS).status("s", MONDAY_MS, ServiceStatus(unread=unread))
    said = f"1h: windows come long after their end{said}; the newest ended at 2 Nov 2025, 20:00 UTC"
    check(status, told=[said], runbook="DriftgaugeLagGrowing")


@pytest.mark.parametrize(
    ("topics", "is_told"),
    [((), True), (("embeddings",), True), (("clicks",), False), (("clicks", "embeddings"), True)],
)
def test_cause_is_told_of_streams_that_the_topic_may_hold(topics, is_told):
    service = ServiceStatus(
        faults=(ServiceFault(name="stopped", subject="a partition", topics=frozenset(topics)),)
    )
    overview = Overview(MadeResults().history, TWO_TOPICS)
    causes = {each.stream: bool(each.held_up_by) for each in overview.statuses(MONDAY_MS, service)}
    assert causes == {"s": is_told, "clicks": True}


def test_streams_that_replicas_refuse_are_shown_where_the_configuration_has_them():
    refusal = Refusal(20_000, 40_000, "wrong_dimension")
    service = ServiceStatus(dict.fromkeys(["s", "cam-*", "removed"], refusal))
    settings = build_settings([{"name": "s"}, {"match": "cam-*", "most": 2}])
    statuses = Overview(MadeResults().history, settings).statuses(MONDAY_MS, service)
    assert [each.stream for each in statuses] == ["cam-*", "s"]


WARM_UP = {"from": "2025-11-03T00:00:00Z", "until": "2025-11-04T00:00:00Z"}
WARM_UP_SPAN = "the warm_up from 3 Nov 2025, 00:00 UTC to 4 Nov 2025, 00:00 UTC "
# A day is too short for windows of a day, which config check says.
WARMING_UP = {"warm_up": WARM_UP, "windows": ["1h", "1d"]}
ENOUGH = "it takes 20 of a length, or 14 of a day or longer"
DAY_LONG = {"windows": ["1d"]}
BOTH = {"windows": ["1h", "1d"]}


def hours(numbers, verdict="ok", **changes):
    """Windows of these hours, or of another size."""
    return [(number, verdict, changes) for number in numbers]


def segment_windows(letters, size_ms=HOUR_MS):
    """Windows of one segment, whose verdict each letter is; or of none, incomplete or with drift."""
    segment = {"key": "country", "value": "de", "adjusted_p_value": None}
    return [
        (
            number,
            {"m": "incomplete", "D": "drift"}.get(letter, "ok"),
            {
                "size_ms": size_ms,
                "segments": [] if letter in "-mD" else [segment | {"verdict": VERDICT_OF[letter]}],
            },
        )
        for number, letter in enumerate(letters)
    ]


def read_status(published, now_ms=MONDAY_MS, **settings):
    """The status by published windows, each (number, verdict, changes)."""
    windows = [(verdict, {"number": number} | changes) for number, verdict, changes in published]
    results = publish(*windows, stream="s", segments=[], kind=None)
    return Overview(results.history, build_settings([{"name": "s"} | settings])).status("s", now_ms)


def cameras(**verdicts):
    """An hour that is well, and one with drift whose cameras have these verdicts."""
    segments = [
        {**SEGMENT, "key": "camera", "value": name, "verdict": each} for name, each in verdicts.items()
    ]
    return [*hours([0]), *hours([1], "drift", kind="shift", segments=segments)]


def spread_by(value):
    findings = record_tree()["findings"]
    return hours(
        [0], "drift", kind="spread", findings=findings | {"spread": findings["spread"] | {"value": value}}
    )


def new_baseline(end):
    """Three hours that are well, and three with drift of a baseline whose hash ends alike."""
    return [
        *hours(range(3), baseline=f"sha256:{'a' * 62}{end}"),
        *hours(range(3, 6), "drift", kind="shift", baseline=f"sha256:{'b' * 62}{end}"),
    ]


def incomplete(**changes):
    return hours([0], "incomplete", **changes)


def with_note(said):
    return {"notes": (f"{WARM_UP_SPAN}{said}",)}


ON_T = {"topic": "t", "partition": 1}
WITHOUT_NOTE = {"notes": ()}


@pytest.mark.parametrize(
    ("windows", "options", "expected"),
    [
        # Drift of some segments alone is not told as drift of all.
        (
            cameras(one="ok", two="drift"),
            {},
            {"says": ["; in camera = two.", "Find what changed for camera = two alone"]},
        ),
        (cameras(one="drift", two="drift"), {}, {"says": ["(mean shift 0.817)."], "lacks": ["alone"]}),
        (cameras(one="insufficient", two="drift"), {}, {"says": ["(mean shift 0.817)."], "lacks": ["alone"]}),
        (
            spread_by(-0.067),
            {},
            {"cause": "Spread: events lie nearer to the baseline's mean (spread -6.7 %)."},
        ),
        (
            spread_by(0.067),
            {},
            {"cause": "Spread: events lie further from the baseline's mean (spread +6.7 %)."},
        ),
        # A baseline is told apart from one whose hash ends alike.
        (new_baseline("00"), {}, {"misfits": [3]}),
        (new_baseline("ab"), {}, {"misfits": [3]}),
        # Why a window is incomplete is one of a list.
        (
            incomplete(incomplete=[ON_T] * 4, incomplete_reason="partitions_missing"),
            {},
            {"faults": [("partitions_missing", "t[1], t[1], t[1] and 1 more not read to the end")]},
        ),
        # A partition was given up before.
        (
            incomplete(incomplete=[ON_T], incomplete_reason="counted_otherwise"),
            {},
            {
                "faults": [
                    ("counted_otherwise", "counted under another baseline, or in other panes or segments")
                ]
            },
        ),
        (
            incomplete(incomplete_reason="panes_purged"),
            {},
            {"faults": [("panes_purged", "a part of the counts is missing")]},
        ),
        (
            incomplete(incomplete_reason="counted_twice"),
            {},
            {"state": "incomplete", "faults": [("counted_twice", "events may have been counted twice")]},
        ),
        (
            incomplete(incomplete_reason="new_reason"),
            {},
            {"faults": [("other", "the counts are in doubt (new reason)")]},
        ),
        (incomplete(), {}, {"faults": [("other", "the counts are in doubt")]}),
        # A warm-up says how many windows it has while these are too few.
        ([], WARMING_UP | {"now_ms": MONDAY_MS + HOUR_MS}, WITHOUT_NOTE),
        (
            hours(range(1)),
            WARMING_UP | {"now_ms": MONDAY_MS + HOUR_MS},
            with_note(f"has 1 window of 1h so far; {ENOUGH}"),
        ),
        (
            hours(range(19)),
            WARMING_UP | {"now_ms": MONDAY_MS + DAY_MS},
            with_note(f"has 19 windows of 1h so far; {ENOUGH}"),
        ),
        (hours(range(20)), WARMING_UP | {"now_ms": MONDAY_MS + DAY_MS}, WITHOUT_NOTE),
        ([], WARMING_UP | {"now_ms": MONDAY_MS + 2 * DAY_MS}, WITHOUT_NOTE),
        # The baseline is calibrated without it.
        (
            hours(range(24, 26)),
            WARMING_UP | {"now_ms": MONDAY_MS + 2 * DAY_MS},
            with_note(f"has passed with no windows of 1h; {ENOUGH}"),
        ),
        (
            hours(range(5, 30)),
            WARMING_UP | {"now_ms": MONDAY_MS + 2 * DAY_MS},
            with_note(f"has passed with 19 windows of 1h; {ENOUGH}"),
        ),
        (hours(range(4, 30)), WARMING_UP | {"now_ms": MONDAY_MS + 2 * DAY_MS}, WITHOUT_NOTE),
        # Results so old are not kept, so only this is known.
        (hours(range(800, 802)), WARMING_UP | {"now_ms": MONDAY_MS + 40 * DAY_MS}, WITHOUT_NOTE),
        (
            hours(range(800, 802), calibrated=False),
            WARMING_UP | {"now_ms": MONDAY_MS + 40 * DAY_MS},
            with_note(f"has passed with no windows of 1h; {ENOUGH}"),
        ),
        # Windows that a warm-up is too short for do not wait for it.
        (
            [*hours(range(24), measuring=MEASURING), *hours([0], size_ms=DAY_MS, calibrated=False)],
            WARMING_UP | {"now_ms": MONDAY_MS + DAY_MS},
            with_note(f"is too short for windows of 1d; {ENOUGH}") | {"warming_up": ["1h"]},
        ),
        (
            [*hours(range(24), measuring=MEASURING), *hours([0], size_ms=DAY_MS)],
            WARMING_UP | {"now_ms": MONDAY_MS + DAY_MS},
            WITHOUT_NOTE | {"warming_up": ["1h"]},
        ),
        # A size that was removed says its last alarm alone.
        (segment_windows("oo", DAY_MS), {}, {"state": "waiting"}),
        ([*segment_windows("d"), *segment_windows("oo", DAY_MS)], DAY_LONG, {"state": "ok"}),
        # An alarm is news until another size has concluded on later events.
        (segment_windows("oDD"), DAY_LONG, {"state": "drift"}),
        ([*segment_windows("oDD"), *segment_windows("o", DAY_MS)], DAY_LONG, {"state": "ok"}),
        (segment_windows("oDDo"), DAY_LONG, {"state": "waiting"}),
        *(
            ([*segment_windows("o" * 24 + "DD"), *segment_windows(daily, DAY_MS)], DAY_LONG, {"state": state})
            for daily, state in (("o", "drift"), ("om", "drift"), ("oo", "ok"))
        ),
        # Longer windows have enough events.
        (
            [*segment_windows("f" * 24), *segment_windows("o", DAY_MS)],
            BOTH,
            {"state": "ok", "details": [("unclear", "1h", 0, "country = de (too few events)")]},
        ),
        (
            [*segment_windows("o" * 24), *segment_windows("f", DAY_MS)],
            BOTH,
            {"state": "unclear", "details": [("unclear", "1d", 0, "country = de (too few events)")]},
        ),
        # A segment that no window of a day finds in order is named.
        *(
            (
                segment_windows(hourly),
                {},
                {"state": "unclear", "details": [("unclear", "1h", since, f"country = de ({detail})")]},
            )
            for hourly, since, detail in (
                ("f" * 24, 0, "too few events"),
                ("o" + "f" * 24, 1, "too few events"),
                ("o" + "wff" * 8, 1, "too few events"),
                ("w" * 24, 0, "possible drift"),
                ("x" * 24, 0, "baseline does not fit"),
                # An incomplete window says nothing.
                ("f" * 12 + "m" + "f" * 11, 0, "too few events"),
            )
        ),
        (segment_windows("f" * 23), {}, {"state": "ok", "concerns": []}),
        (segment_windows("of" + "o" * 22 + "f" * 23), {}, {"state": "ok", "concerns": []}),
        # Its drift is an alarm.
        (segment_windows("o" + "d" * 24), {}, {"state": "segment", "concerns": []}),
        # It is no longer judged.
        (segment_windows("f" * 24 + "-"), {}, {"state": "ok", "concerns": []}),
    ],
)
def test_status_by_published_windows(windows, options, expected):
    check(read_status(windows, **options), **expected)


@pytest.mark.parametrize(
    ("removed", "later", "seen", "changed", "is_noted"),
    [
        # The alarm goes on in longer windows.
        ("ooDDDD", "DDDD", "between 3 Nov 2025, 01:00 UTC and 3 Nov 2025, 08:00 UTC", "01:00", True),
        # No longer window has ended, or has a conclusion.
        ("ooDDDD", "", "between 3 Nov 2025, 01:00 UTC and 3 Nov 2025, 03:00 UTC", "01:00", True),
        ("ooDDDD", "m", "between 3 Nov 2025, 01:00 UTC and 3 Nov 2025, 03:00 UTC", "01:00", True),
        # It ended, and another began.
        ("ooDDDD", "oDDD", "between 3 Nov 2025, 06:00 UTC and 3 Nov 2025, 10:00 UTC", "06:00", True),
        # All was well until the change.
        ("oooooo", "DDDD", "between 3 Nov 2025, 05:00 UTC and 3 Nov 2025, 08:00 UTC", "05:00", False),
        ("ooDDDD", "oooo", "", "", True),
    ],
)
def test_removed_size_dates_the_incident_and_says_what_became_of_its_alert(
    removed, later, seen, changed, is_noted
):
    windows = [
        (WINDOWS[letter][0], WINDOWS[letter][1] | {"number": first + number, "size_ms": size_ms})
        for size_ms, first, letters in ((HOUR_MS, 0, removed), (2 * HOUR_MS, 3, later))
        for number, letter in enumerate(letters)
    ]
    results = publish(*windows, stream="s")
    settings = build_settings([{"name": "s", "windows": ["2h"]}])
    status = Overview(results.history, settings).status("s", MONDAY_MS + 15 * HOUR_MS)
    # Of windows that no longer come, nothing ends the alarm.
    ends = "the alarm ends"
    check(
        status,
        says=[f"between 3 Nov 2025, {changed} UTC and"] * bool(changed) + [ends] * ("D" in later),
        lacks=["baseline is this model's", *[ends] * ("D" not in later)],
        leads=[seen] * bool(seen),
        is_silenced="D" in later,
    )
    said = "windows of 1h are not configured, so the alert on their alarm since 3 Nov 2025, 02:00 UTC ends"
    assert [each.startswith(said) for each in status.notes] == [True] * is_noted
    assert not [each for each in status.concerns if each.size == "1h"], "no removed size is silent"
    opened = read_query(results.history, settings.by_stream, QueryParams({"stream": "s"}))
    assert (opened.size, opened.removed) == ("2h" if later else "1h", ("1h",))
    assert status.leading is None or status.leading.size == ("2h" if "D" in later else "1h")


@pytest.mark.parametrize("state", URGENCY)
def test_every_state_but_ok_has_a_runbook(state):
    assert state == "ok" or (RUNBOOKS / f"{STATES[state].runbook}.md").exists()
