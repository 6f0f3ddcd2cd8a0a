"""What a backtest says."""

import pytest

from driftgauge.backtest.picture import draw
from driftgauge.backtest.report import as_json, describe
from driftgauge.errors import InputError
from tests.backtest.test_timeline import HOUR_MS, timeline


def test_the_table_counts_the_verdicts_and_names_the_pages():
    said = describe([timeline("oowDDi")], None)
    row = next(line for line in said.splitlines() if line.startswith("images 1h"))
    assert row.split() == ["images", "1h", "6", "2", "1", "2", "1", "0", "1"]
    assert (
        "1970-01-01T03:00:00Z  images 1h  100 events  divergence 0.1000, mean shift 0.2000, p 5.0e-01" in said
    )
    assert "--drift-from" in said


def test_with_a_beginning_of_drift_pages_are_false_or_late():
    said = describe([timeline("oDo" + "owD")], 3 * HOUR_MS)
    assert "3 windows before with 1 false alarms (33.33%) and 1 false pages" in said
    assert "first warned by window 2 after, paged by window 3, 3.0 h after" in said


def test_where_nothing_paged_it_says_so():
    assert "No pages." in describe([timeline("oo")], None)
    assert "no alarm after" in describe([timeline("oo")], HOUR_MS)


def test_no_more_than_twenty_pages_are_named():
    said = describe([timeline("oD" * 25)], None)
    assert said.count("divergence 0.1") == 20
    assert "and 5 more" in said


def test_a_daily_cycle_is_pointed_out():
    night = "".join("w" if hour < 4 else "o" for hour in range(24))
    said = describe([timeline(night * 3)], None)
    assert "a daily cycle looks like drift" in said
    assert "alarms by hour of day" in said


def test_the_same_as_json():
    (found,) = as_json([timeline("oDo")], 2 * HOUR_MS)
    assert found["verdicts"] == {"ok": 2, "warning": 0, "drift": 1, "insufficient": 0, "incomplete": 0}
    assert found["pages"] == ["1970-01-01T01:00:00Z"]
    assert found["outcome"]["false_pages"] == 1
    assert found["segment"] is None


def test_the_picture_is_a_png(tmp_path):
    path = tmp_path / "backtest.png"
    draw([timeline("ooDD"), timeline("o", size_ms=24 * HOUR_MS)], 2 * HOUR_MS, path)
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_a_picture_that_cannot_be_written_is_said_with_the_remedy(tmp_path):
    with pytest.raises(InputError, match=r"cannot write the picture: .*; choose a folder"):
        draw([timeline("oo")], None, tmp_path / "nowhere" / "backtest.png")
