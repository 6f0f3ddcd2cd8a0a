"""Tests of `driftgauge.page.chart`."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.page.chart import SPARK_HEIGHT, WIDTH, chart, sparkline
from driftgauge.page.summary import SUMMARY
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.page import build_row, build_rows


def points(path):
    return [tuple(map(float, pair)) for pair in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)]


def draw(verdicts, values, **options):
    return chart(build_rows(*verdicts), HOUR_MS, np.array(values, dtype=np.float64), **options)


def test_larger_numbers_are_higher_and_later_windows_further_right():
    drawn = draw(["ok", "ok", "drift"], [0.1, 0.2, 0.4])
    across, up = zip(*points(drawn.line), strict=True)
    assert list(across) == sorted(across)
    assert list(up) == sorted(up, reverse=True)
    assert drawn.dots == tuple(points(drawn.line))
    assert drawn.zero == drawn.bottom
    assert all(drawn.left <= x <= drawn.right for x in across)
    assert all(drawn.top <= y <= drawn.bottom for y in up)


def test_heights_are_proportional_to_numbers():
    drawn = draw(["ok"] * 3, [0.1, 0.2, 0.4])
    heights = [drawn.zero - y for _, y in points(drawn.line)]
    assert heights[1] == pytest.approx(2 * heights[0], abs=0.2)
    assert heights[2] == pytest.approx(4 * heights[0], abs=0.3)


def test_numbers_below_zero_are_below_its_line():
    drawn = draw(["ok"] * 2, [-0.1, 0.1])
    (_, below), (_, above) = points(drawn.line)
    assert below > drawn.zero > above


def test_window_without_number_breaks_the_line():
    drawn = draw(["ok", "insufficient", "ok"], [0.1, np.nan, 0.2])
    assert drawn.line.count("M") == 2
    assert len(drawn.dots) == 2


def test_missing_window_breaks_line_and_band():
    rows = build_rows("ok", "ok", "ok")[[0, 2]]
    drawn = chart(rows, HOUR_MS, np.array([0.1, 0.2]))
    assert drawn.line.count("M") == 2
    assert [band.verdict for band in drawn.bands] == ["ok", "ok"]


def test_bands_join_windows_of_same_verdict():
    drawn = draw(["ok", "ok", "drift", "drift", "ok"], [0.1] * 5)
    assert [band.verdict for band in drawn.bands] == ["ok", "drift", "ok"]
    assert drawn.bands[0].width == pytest.approx(2 * drawn.bands[2].width, abs=0.2)
    assert sum(band.width for band in drawn.bands) == pytest.approx(drawn.right - drawn.left, abs=0.5)


def test_every_window_has_an_area_with_its_number():
    drawn = draw(["ok", "insufficient"], [0.125, np.nan])
    assert [(hit.verdict, hit.value) for hit in drawn.hits] == [("ok", "0.125"), ("insufficient", "–")]  # noqa: RUF001
    assert [hit.start_ms for hit in drawn.hits] == build_rows("ok", "ok")["start_ms"].tolist()


def test_many_windows_have_no_dots():
    rows = np.repeat(build_rows("ok"), 121)
    rows["start_ms"] += np.arange(121) * HOUR_MS
    assert chart(rows, HOUR_MS, np.ones(121)).dots == ()


def test_noise_and_limits_have_paths():
    drawn = draw(["ok"] * 2, [0.1, 0.1], floor=np.full(2, 0.05), limits=[np.full(2, 0.2)])
    (_, noise), (_, limit) = points(drawn.floor)[0], points(drawn.limits[0])[0]
    assert limit < points(drawn.line)[0][1] < noise


def test_weeks_are_ticked_on_mondays():
    rows = np.repeat(build_rows("ok"), 21)
    rows["start_ms"] += np.arange(21) * DAY_MS
    drawn = chart(rows, DAY_MS, np.ones(21))
    assert [tick.text for tick in drawn.x_ticks] == ["3 Nov", "10 Nov", "17 Nov", "24 Nov"]
    assert drawn.x_ticks[0].at == drawn.left


def test_first_tick_names_zone_and_date():
    drawn = chart(build_rows(*["ok"] * 7)[4:], HOUR_MS, np.ones(3))
    assert [(tick.text, tick.below) for tick in drawn.x_ticks][:3] == [
        ("04:00", "3 Nov UTC"),
        ("04:30", ""),
        ("05:00", ""),
    ]
    assert drawn.x_ticks[0].time_ms == MONDAY_MS + 4 * HOUR_MS
    days = np.repeat(build_rows("ok"), 2)
    days["start_ms"] += np.arange(2) * DAY_MS
    assert [(tick.text, tick.below) for tick in chart(days, DAY_MS, np.ones(2)).x_ticks][:2] == [
        ("3 Nov", "UTC"),
        ("06:00", ""),
    ]


def test_lower_drawing_has_fewer_ticks():
    tall, low = (draw(["ok"], [1.0], height=height).y_ticks for height in (256, 136))
    assert [tick.text for tick in low] == ["0", "1"]
    assert len(tall) > len(low)


def test_single_window_is_drawn_as_a_point():
    assert draw(["ok", "insufficient"], [0.1, np.nan]).line.endswith("h0")


@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1, max_size=30),
    st.sampled_from([1_000, MINUTE_MS, HOUR_MS, DAY_MS, 365 * DAY_MS]),
)
def test_any_numbers_fit_the_drawing(values, size_ms):
    rows = np.repeat(build_rows("ok"), len(values))
    rows["start_ms"] += np.arange(len(values)) * size_ms
    drawn = chart(rows, size_ms, np.array(values))
    assert all(0 <= x <= WIDTH and -1 <= y <= drawn.height + 1 for x, y in points(drawn.line))
    assert 1 <= len(drawn.y_ticks) <= 12
    assert len(drawn.x_ticks) <= 12
    assert len({tick.text for tick in drawn.y_ticks}) == len(drawn.y_ticks)


def test_sparkline_of_unscored_windows_is_empty():
    assert sparkline(build_rows("insufficient"), HOUR_MS) == ("", ())


def test_sparkline_shows_alarms_behind_it():
    line, bands = sparkline(build_rows("ok", "drift"), HOUR_MS)
    assert len(points(line)) == 2
    assert [band.verdict for band in bands] == ["drift"]


def test_noise_lies_low_in_a_sparkline_and_drift_high():
    def height(divergence):
        rows = build_rows("ok", "ok")
        rows["js_divergence"], rows["noise_floor"] = divergence, 0.01
        ((_, up), _) = points(sparkline(rows, HOUR_MS)[0])
        return (SPARK_HEIGHT - up) / SPARK_HEIGHT

    assert height(0.01) < 0.4
    assert height(0.03) == height(0.3) > 0.9


def test_single_window_has_a_sparkline():
    row = build_row()
    assert points(sparkline(row.reshape(1), HOUR_MS)[0])


def test_weeks_begin_on_mondays():
    rows = np.empty(21, SUMMARY)
    for number in range(21):
        rows[number] = build_row(number, "ok", size_ms=DAY_MS)
    drawn = chart(rows, DAY_MS, rows["js_divergence"])
    assert [tick.text for tick in drawn.x_ticks] == ["3 Nov", "10 Nov", "17 Nov", "24 Nov"]
