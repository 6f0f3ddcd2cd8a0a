"""Reports and pictures of backtests."""

from typing import Any

import pytest

from driftgauge.backtest.picture import draw
from driftgauge.backtest.report import as_json, describe
from driftgauge.cli.printing import render
from driftgauge.errors import InputError
from tests.builders.clocks import HOUR_MS
from tests.builders.results import build_timeline

NIGHT = "".join("w" if hour < 4 else "o" for hour in range(24))


@pytest.mark.parametrize(
    ("verdicts", "drift_ms", "parts"),
    [
        (
            "oowDDi",
            None,
            ["images 1h 6 2 1 2 1 0 1", "1970-01-01T03:00:00Z images 1h 100 0.1000 0.2000 5.0e-01"],
        ),
        (
            "oDo" + "owD",
            3 * HOUR_MS,
            [
                "3 windows before with 1 false alarms (33.33%) and 1 false pages",
                "first warned by window 2 after, paged by window 3, 3.0 h after",
            ],
        ),
        ("oo", None, ["No pages.", "--drift-from"]),
        ("oo", HOUR_MS, ["no alarm after"]),
        ("oD" * 25, None, ["and 5 more"]),
        (NIGHT * 3, None, ["a daily cycle looks like drift", "alarms by hour of day"]),
    ],
)
def test_text_counts_verdicts_and_evaluates_alarms(snapshot, verdicts, drift_ms, parts):
    text = render(describe([build_timeline(verdicts)], drift_ms))
    assert [part for part in parts if part not in " ".join(text.split())] == []
    assert text == snapshot


def test_json_has_verdicts_pages_and_evaluation():
    (found,) = as_json([build_timeline("oDo")], 2 * HOUR_MS)
    assert found["verdicts"] == {"ok": 2, "warning": 0, "drift": 1, "insufficient": 0, "incomplete": 0}
    assert (found["pages"], found["segment"]) == (["1970-01-01T01:00:00Z"], None)
    outcome: Any = found["outcome"]
    assert outcome["false_pages"] == 1


def test_picture_is_png(tmp_path):
    path = tmp_path / "backtest.png"
    draw([build_timeline("ooDD"), build_timeline("o", size_ms=24 * HOUR_MS)], 2 * HOUR_MS, path)
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputError, match=r"cannot write the picture: .*; check the folder"):
        draw([build_timeline("oo")], None, tmp_path / "nowhere" / "backtest.png")
