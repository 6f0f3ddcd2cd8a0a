"""The gauges of past windows as OpenMetrics text: what a Prometheus server would have scraped."""

import io
import math

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from driftgauge.core.judging.verdict import Verdict
from driftgauge.recorded.backfill import write_history
from tests.builders.clocks import DAY_MS, HOUR_MS
from tests.builders.results import build_result, build_score
from tests.builders.telemetry import build_watched

STEP_S = 240
HOUR_S, DAY_S = HOUR_MS // 1000, DAY_MS // 1000


def written(*results, labels=None):
    """The samples of each series: (name, labels) -> [(time, value)]."""
    file = io.BytesIO()
    number = write_history(results, [build_watched("images")], file, labels or {"job": "driftgauge"})
    text = file.getvalue().decode()
    assert text.endswith("# EOF\n")
    series = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series.setdefault((sample.name, frozenset(sample.labels.items())), []).append(
                (float(sample.timestamp), sample.value)
            )
    assert sum(map(len, series.values())) == number
    return series


def named(series, name, **labels):
    """The samples of the only series of a name with these labels."""
    (found,) = (
        points for (own, items), points in series.items() if own == name and items >= set(labels.items())
    )
    return found


HOURLY = {"stream": "images", "window": "1h", "job": "driftgauge"}


def test_window_is_shown_from_its_end_until_next_one():
    results = [
        build_result(number=number, score=build_score((10, 20, 30, 40), p_value=number / 10))
        for number in (1, 2, 8)
    ]
    series = written(*results)
    # The gap between windows is not filled.
    assert named(series, "driftgauge_window_p_value", **HOURLY) == [
        (end_s + step, p_value)
        for end_s, p_value in ((2 * HOUR_S, 0.1), (3 * HOUR_S, 0.2), (9 * HOUR_S, 0.8))
        for step in range(0, HOUR_S, STEP_S)
    ]
    assert written(*reversed(results)) == series


def test_last_revision_is_shown():
    first, second = build_result((10, 20, 30, 40)), build_result((20, 20, 30, 40), revision=1)
    for order in ((first, second), (first, first, second)):
        points = named(written(*order), "driftgauge_window_events", **HOURLY)
        assert {value for _, value in points} == {110}


def test_alarm_lasts_until_conclusive_window():
    verdicts = [Verdict.OK, Verdict.DRIFT, Verdict.INSUFFICIENT, Verdict.OK]
    results = [
        build_result(number=number, verdict=verdict) for number, verdict in enumerate(verdicts, start=1)
    ]
    points = dict(named(written(*results), "driftgauge_alarm_active", **HOURLY))
    assert [points[(number + 1) * HOUR_S] for number in range(1, 5)] == [0, 1, 1, 0]


def test_configuration_is_shown_once_beside_windows_of_two_sizes():
    series = written(build_result(number=23), build_result(size_ms=DAY_MS, number=0))
    points = named(series, "driftgauge_p_value_threshold", stream="images")
    times = [time for time, _ in points]
    assert times == sorted(set(times))
    assert times[0] == DAY_S
    assert times[-1] == 2 * DAY_S - STEP_S
    assert len(named(series, "driftgauge_alarm_active", **HOURLY)) == HOUR_S // STEP_S


def test_series_have_given_labels_and_no_time_of_run():
    series = written(build_result(), labels={"job": "a", "cluster": 'b "c"'})
    assert all({("job", "a"), ("cluster", 'b "c"')} <= labels for _, labels in series)
    names = {name for name, _ in series}
    assert "driftgauge_window_verdict" in names
    assert "driftgauge_stream_info" in names
    assert not names & {
        "driftgauge_window_closed_timestamp_seconds",
        "driftgauge_watermark_timestamp_seconds",
    }
    assert not [name for name in names if name.endswith("_total")]


def test_infinite_value_is_written_and_no_result_is_no_sample():
    series = written(build_result((1, 1, 1, 1)))
    assert named(series, "driftgauge_window_detectable_ratio", kind="mix", **HOURLY)[0][1] == math.inf
    assert written() == {}
