"""The report of a stream's baselines in `driftgauge config check`."""

import numpy as np
import pytest

from driftgauge.cli.config_check import describe_schedule, report_schedule
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.streams import load_streams
from tests.builders.baselines import save_baseline
from tests.builders.clocks import DAY_MS, MONDAY_MS
from tests.builders.configs import settings_in

TUESDAY_MS = MONDAY_MS + DAY_MS
MONDAY, TUESDAY, WEDNESDAY = (f"2025-11-0{day}T00:00:00Z" for day in (3, 4, 5))
SUNDAY = "2025-11-02T00:00:00Z"


@pytest.fixture
def describe(tmp_path):
    """Describe a schedule of (file, from, fields of the baseline) at a wall time, and other settings."""

    def _describe(*listed, now_ms, **changes):
        for file, _, fields in listed:
            save_baseline(tmp_path, file=file, **fields)
        baselines = [
            {"file": file} if start is None else {"file": file, "from": start} for file, start, _ in listed
        ]
        (stream,) = load_streams(settings_in(tmp_path, {"baselines": baselines, **changes}))
        _, _, *described = describe_schedule(report_schedule(stream, now_ms))
        if "warm_up" in changes:
            said, *described = described
            assert "whether it holds events is not checked here" in said
        # None of these baselines says how much clean windows vary.
        of_baselines = (line for line in described if "not calibrated for bursts" not in line)
        lines = [line.replace(f"{tmp_path}/", "").removeprefix("  ") for line in of_baselines]
        identities = [baseline.identity[:19] for baseline in stream.baselines]
        return identities, lines

    return _describe


LATER = {"created_ms": MONDAY_MS + 1}
TWO, THREE = {"clusters": 2}, {"clusters": 3}


def test_baseline_is_in_force_until_next(describe):
    (first, second, third), lines = describe(
        ("a", None, TWO), ("b", MONDAY, THREE), ("c", TUESDAY, {}), now_ms=MONDAY_MS - 1
    )
    assert lines == [
        f"baseline {first}… in a: 2 clusters of 4 dimensions, fitted {SUNDAY}, "
        f"in force from the beginning until {MONDAY} (now)",
        f"baseline {second}… in b: 3 clusters of 4 dimensions, fitted {SUNDAY}, "
        f"in force from {MONDAY} until {TUESDAY}",
        f"baseline {third}… in c: 4 clusters of 4 dimensions, fitted {SUNDAY}, in force from {TUESDAY} on",
    ]


@pytest.mark.parametrize(
    ("listed", "now_ms", "warnings"),
    [
        ([("a", None, {})], MONDAY_MS, []),
        (
            [("a", None, TWO), ("b", MONDAY, THREE), ("c", TUESDAY, {})],
            MONDAY_MS,
            [f"b is in force from {MONDAY}, in the past: if any replica did not list it by then"],
        ),
        (
            [("a", None, TWO), ("b", MONDAY, THREE), ("c", TUESDAY, {})],
            TUESDAY_MS,
            [f"c is in force from {TUESDAY}, in the past: if any replica did not list it by then"],
        ),
        (
            [("a", None, TWO), ("b", MONDAY, LATER), ("c", TUESDAY, THREE)],
            MONDAY_MS - 1,
            [f"b was fitted after its time in force began ({MONDAY}): "],
        ),
        (
            [("a", None, TWO | LATER), ("b", MONDAY, {})],
            MONDAY_MS - 1,
            [f"a was fitted after its time in force ended ({MONDAY}): "],
        ),
        (
            [("a", None, TWO | {"created_ms": MONDAY_MS}), ("b", MONDAY, {"created_ms": MONDAY_MS})],
            MONDAY_MS - 1,
            [],
        ),
        (
            [("a", None, {}), ("a", TUESDAY, {}), ("b", WEDNESDAY, TWO)],
            0,
            ["a and a contain the same baseline: if the first was overwritten, restore it"],
        ),
        ([("a", None, {}), ("b", TUESDAY, TWO), ("a", WEDNESDAY, {})], 0, []),
    ],
)
def test_mistakes_in_schedule_are_warned_of(describe, listed, now_ms, warnings):
    _, lines = describe(*listed, now_ms=now_ms)
    shown = lines[len(listed) :]
    assert len(shown) == len(warnings)
    for line, warning in zip(shown, warnings, strict=True):
        assert line.startswith(f"warning: {warning}")


MEASURED = {"overdispersion": Overdispersion(20, 1.5, 1.5 * np.eye(2))}
TEN, END = "2025-11-03T10:00:00Z", "2025-11-23T00:00:00Z"
LOWER = (
    "windows of 1d are judged by how windows of 1h vary, which is a lower bound (calibrated: false), if 20 of"
)


@pytest.mark.parametrize(
    ("listed", "windows", "days", "warnings"),
    [
        ([("a", None, {})], ["1h", "1d"], (MONDAY, END), []),
        (
            [("a", None, {})],
            ["1h", "1d"],
            (MONDAY, TUESDAY),
            [("has time for 1 whole window of 1d against a", LOWER, f"let it last until {END}")],
        ),
        (
            [("a", None, {})],
            ["1h", "1d"],
            (MONDAY, WEDNESDAY),
            [("has time for 2 whole windows of 1d against a", LOWER, f"let it last until {END}")],
        ),
        (
            [("a", None, {})],
            ["1h", "1d"],
            ("2025-11-03T00:00:01Z", END),
            [("19 whole windows of 1d", LOWER, "until 2025-11-24T00:00:00Z")],
        ),
        (
            [("a", None, MEASURED), ("b", TEN, TWO)],
            ["1h"],
            (MONDAY, TUESDAY),
            [
                (
                    "10 whole windows of 1h against a",
                    "how they varied when the baseline was fitted",
                    "begin earlier",
                ),
                (f"warm_up begins before b is in force ({TEN}), so windows against that baseline",),
            ],
        ),
        (
            [("a", None, {}), ("b", TUESDAY, TWO)],
            ["1h"],
            (MONDAY, TUESDAY),
            [(f"before b is in force ({TUESDAY})", f"let warm_up begin at {TUESDAY}")],
        ),
        ([("a", None, {}), ("b", TUESDAY, TWO)], ["1h"], (TUESDAY, WEDNESDAY), []),
    ],
)
def test_windows_outside_the_warm_up_are_warned_of(describe, listed, windows, days, warnings):
    warm_up = dict(zip(("from", "until"), days, strict=True))
    _, lines = describe(*listed, now_ms=MONDAY_MS - DAY_MS, windows=windows, warm_up=warm_up)
    shown = lines[len(listed) :]
    assert len(shown) == len(warnings)
    for line, parts in zip(shown, warnings, strict=True):
        assert [part for part in ("warning: ", *parts) if part not in line] == []
