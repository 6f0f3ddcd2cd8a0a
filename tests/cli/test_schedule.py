"""The report of a stream's baselines in `driftgauge config check`."""

import pytest

from driftgauge.cli.schedule import describe_schedule
from driftgauge.streams import load_streams
from tests.builders.baselines import save_baseline
from tests.builders.clocks import DAY_MS, MONDAY_MS
from tests.builders.configs import settings_in

TUESDAY_MS = MONDAY_MS + DAY_MS
MONDAY, TUESDAY, WEDNESDAY = (f"2025-11-0{day}T00:00:00Z" for day in (3, 4, 5))
SUNDAY = "2025-11-02T00:00:00Z"


@pytest.fixture
def describe(tmp_path):
    """Describe a schedule of (file, from, fields of the baseline) at a wall time."""

    def _describe(*listed, now_ms):
        for file, _, fields in listed:
            save_baseline(tmp_path, file=file, **fields)
        baselines = [
            {"file": file} if start is None else {"file": file, "from": start} for file, start, _ in listed
        ]
        (stream,) = load_streams(settings_in(tmp_path, {"baselines": baselines}))
        lines = [line.replace(f"{tmp_path}/", "") for line in describe_schedule(stream, now_ms)]
        identities = [baseline.identity[:19] for baseline in stream.baselines]
        return identities, lines

    return _describe


def test_only_baseline_is_in_force_from_beginning(describe):
    (identity,), lines = describe(("a", None, {}), now_ms=MONDAY_MS)
    assert lines == [
        f"baseline {identity}… in a: 4 clusters of 4 dimensions, fitted {SUNDAY}, "
        "in force from the beginning on (now)"
    ]


def test_baseline_is_in_force_until_next(describe):
    (first, second, third), lines = describe(
        ("a", None, {"clusters": 2}),
        ("b", MONDAY, {"clusters": 3}),
        ("c", TUESDAY, {}),
        now_ms=MONDAY_MS - 1,
    )
    assert lines == [
        f"baseline {first}… in a: 2 clusters of 4 dimensions, fitted {SUNDAY}, "
        f"in force from the beginning until {MONDAY} (now)",
        f"baseline {second}… in b: 3 clusters of 4 dimensions, fitted {SUNDAY}, "
        f"in force from {MONDAY} until {TUESDAY}",
        f"baseline {third}… in c: 4 clusters of 4 dimensions, fitted {SUNDAY}, in force from {TUESDAY} on",
    ]


@pytest.mark.parametrize(("now_ms", "file", "start"), [(MONDAY_MS, "b", MONDAY), (TUESDAY_MS, "c", TUESDAY)])
def test_baseline_in_force_with_past_start_warns(describe, now_ms, file, start):
    _, lines = describe(
        ("a", None, {"clusters": 2}), ("b", MONDAY, {"clusters": 3}), ("c", TUESDAY, {}), now_ms=now_ms
    )
    assert lines[3:] == [
        f"warning: {file} is in force from {start}, in the past: if any replica did not list it by then, "
        "one window of each size (1h, 1d) is incomplete"
    ]


def test_baseline_fitted_after_its_start_warns_of_overwrite(describe):
    _, lines = describe(
        ("a", None, {"clusters": 2}),
        ("b", MONDAY, {"created_ms": MONDAY_MS + 1}),
        ("c", TUESDAY, {"clusters": 3}),
        now_ms=TUESDAY_MS - 1,
    )
    _, changed = lines[3:]
    assert changed.startswith(f"warning: b was fitted after its time in force began ({MONDAY}): ")
    assert changed.endswith("list the new one under another name, with a future from")


def test_first_baseline_fitted_after_its_end_warns_of_overwrite(describe):
    _, lines = describe(
        ("a", None, {"clusters": 2, "created_ms": MONDAY_MS + 1}), ("b", MONDAY, {}), now_ms=TUESDAY_MS
    )
    changed = lines[2]
    assert changed.startswith(f"warning: a was fitted after its time in force ended ({MONDAY}): ")


def test_baseline_fitted_before_its_start_does_not_warn(describe):
    _, lines = describe(
        ("a", None, {"clusters": 2, "created_ms": MONDAY_MS}),
        ("b", MONDAY, {"created_ms": MONDAY_MS}),
        now_ms=MONDAY_MS - 1,
    )
    assert len(lines) == 2


def test_same_baseline_twice_in_a_row_warns(describe):
    _, lines = describe(("a", None, {}), ("a", TUESDAY, {}), ("b", WEDNESDAY, {"clusters": 2}), now_ms=0)
    assert lines[3:] == [
        "warning: a and a contain the same baseline: if the first was overwritten, restore it, because its "
        "windows were counted with the former one; otherwise remove the second"
    ]


def test_baseline_that_returns_later_does_not_warn(describe):
    _, lines = describe(("a", None, {}), ("b", TUESDAY, {"clusters": 2}), ("a", WEDNESDAY, {}), now_ms=0)
    assert len(lines) == 3
