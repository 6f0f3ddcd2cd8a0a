"""Reports and pictures of backtests."""

from typing import Any

import pytest

from driftgauge.backtest.picture import draw
from driftgauge.backtest.report import as_json, describe
from driftgauge.cli.printing import render
from driftgauge.errors import InputError
from tests.builders.clocks import HOUR_MS
from tests.builders.results import build_timeline


def test_text_counts_verdicts_and_lists_pages():
    text = render(describe([build_timeline("oowDDi")], None))
    row = next(line for line in text.splitlines() if line.startswith("  images 1h"))
    assert row.split() == ["images", "1h", "6", "2", "1", "2", "1", "0", "1"]
    page = next(line for line in text.splitlines() if line.startswith("  1970-01-01T03:00:00Z"))
    assert page.split() == ["1970-01-01T03:00:00Z", "images", "1h", "100", "0.1000", "0.2000", "5.0e-01"]
    assert "--drift-from" in text


def test_text_with_start_of_drift_evaluates_alarms():
    text = render(describe([build_timeline("oDo" + "owD")], 3 * HOUR_MS))
    assert "3 windows before with 1 false alarms (33.33%) and 1 false pages" in text
    assert "first warned by window 2 after, paged by window 3, 3.0 h after" in text


def test_text_without_pages_says_so():
    assert "No pages." in render(describe([build_timeline("oo")], None))
    assert "no alarm after" in render(describe([build_timeline("oo")], HOUR_MS))


def test_text_lists_at_most_twenty_pages():
    text = render(describe([build_timeline("oD" * 25)], None))
    assert text.count("0.1000") == 20
    assert "and 5 more" in text


def test_text_points_out_daily_cycle():
    night = "".join("w" if hour < 4 else "o" for hour in range(24))
    text = render(describe([build_timeline(night * 3)], None))
    assert "a daily cycle looks like drift" in text
    assert "alarms by hour of day" in text


def test_json_has_verdicts_pages_and_evaluation():
    (found,) = as_json([build_timeline("oDo")], 2 * HOUR_MS)
    assert found["verdicts"] == {"ok": 2, "warning": 0, "drift": 1, "insufficient": 0, "incomplete": 0}
    assert found["pages"] == ["1970-01-01T01:00:00Z"]
    outcome: Any = found["outcome"]
    assert outcome["false_pages"] == 1
    assert found["segment"] is None


def test_picture_is_png(tmp_path):
    path = tmp_path / "backtest.png"
    draw([build_timeline("ooDD"), build_timeline("o", size_ms=24 * HOUR_MS)], 2 * HOUR_MS, path)
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_unwritable_picture_raises_error_with_remedy(tmp_path):
    with pytest.raises(InputError, match=r"cannot write the picture: .*; check the folder"):
        draw([build_timeline("oo")], None, tmp_path / "nowhere" / "backtest.png")
