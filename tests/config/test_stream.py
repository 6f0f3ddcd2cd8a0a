"""Validation of a stream's settings."""

import pytest

from tests.builders.configs import warmed_up, with_stream


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"windows": []}, "windows: must name at least one"),
        ({"windows": ["1h", "60m"]}, "windows: a window size occurs twice; keep one"),
        ({"windows": [3600]}, "windows.0: 3600 has no unit"),
        ({"windows": ["3600"]}, "windows.0: '3600' is not a duration"),
        ({"windows": ["0s"]}, "windows.0: must be longer than zero"),
        ({"windows": ["1ms", "1d"]}, "windows: the largest window holds more than 1,500 panes of 1ms"),
        ({"windows": ["99999999d"]}, "windows: a window lasts at most 3660d"),
        ({"idle_timeout": "4999ms"}, "idle_timeout: must not be shorter than 5s"),
        ({"incomplete_after": "0s"}, "incomplete_after: must be longer than zero"),
        ({"incomplete_after": 300}, "incomplete_after: 300 has no unit"),
        ({"give_up_after": "0s"}, "give_up_after: must be longer than zero"),
        ({"baseline": 3}, "baselines.0.file: Input is not a valid path"),
        ({"allowed_disorder": 30}, "allowed_disorder: 30 has no unit"),
        (
            {"allowed_disorder": "30m1h"},
            "allowed_disorder: '30m1h' is not a duration: its units must descend",
        ),
        ({"allowed_disorder": None}, "allowed_disorder: None has no unit"),
        ({"min_events": "20"}, "min_events: Input should be a valid integer"),
        ({"name": "ümlaut"}, "name: String should match pattern"),
        ({"smallest_drift": {"js_divergence": 0}}, "smallest_drift.js_divergence: Input should be greater"),
        ({"smallest_drift": {"js_divergence": 1.5}}, "smallest_drift.js_divergence: Input should be less"),
        (
            {"smallest_drift": {"js_divergence": "1 %"}},
            "smallest_drift.js_divergence: Input should be a valid",
        ),
        ({"smallest_drift": {"mean_shift": 0}}, "smallest_drift.mean_shift: Input should be greater"),
        (
            {"smallest_drift": {"mean_shift": float("inf")}},
            "smallest_drift.mean_shift: Input should be a finite",
        ),
        (
            {"smallest_drift": {"divergence": 0.1}},
            "smallest_drift.divergence: Extra inputs are not permitted",
        ),
        ({"smallest_drift": 0.1}, "smallest_drift: must be a mapping"),
        ({"segments": "country"}, "segments: must be a list"),
        ({"segments": ["country", "country"]}, "segments: a key occurs twice; keep one"),
        ({"segments": ["country", False]}, "segments.1: Input should be a valid string"),
        ({"warm_up": "2025-11-03T00:00:00Z"}, "warm_up: must be a mapping"),
        ({"warm_up": {"from": "2025-11-03T00:00:00Z"}}, "warm_up.until: Field required"),
        ({"warm_up": {"start": "2025-11-03T00:00:00Z"}}, "warm_up.start: Extra inputs are not permitted"),
    ],
)
def test_invalid_stream_is_refused(problems, changes, part):
    assert f"streams.0.{part}" in problems(with_stream(**changes))


def test_give_up_before_incomplete_is_refused(problems, load):
    message = problems(with_stream(incomplete_after="1h1m"))
    assert "streams.0: give_up_after, 1h, must not be shorter than incomplete_after, 1h1m" in message
    (stream,) = load(with_stream(incomplete_after="1h")).streams
    assert stream.give_up_after == stream.incomplete_after


@pytest.mark.parametrize("until", ["2025-11-03T00:00:00Z", "2025-11-03T00:30:00+01:00"])
def test_empty_warm_up_is_refused(problems, until):
    message = problems(warmed_up("2025-11-03T00:00:00Z", until))
    assert "streams.0.warm_up: until must be later than from" in message


@pytest.mark.parametrize(
    ("start", "until", "whole"),
    [
        ("2025-11-03T00:00:00Z", "2025-11-03T19:59:59Z", 19),
        ("2025-11-03T00:00:01Z", "2025-11-03T20:00:00Z", 19),
        ("2025-11-03T00:10:00Z", "2025-11-03T00:50:00Z", 0),
    ],
)
def test_warm_up_with_too_few_windows_is_refused(problems, start, until, whole):
    message = problems(warmed_up(start, until))
    assert f"warm_up holds {whole} whole windows of 1h, and the overdispersion takes 20; declare" in message


def test_warm_up_of_twenty_windows_is_accepted(load):
    (stream,) = load(warmed_up("2025-11-03T00:00:00Z", "2025-11-03T20:00:00Z")).streams
    assert stream.warm_up.end - stream.warm_up.start == 20 * 3_600_000


def test_allowances_may_be_zero(load):
    (stream,) = load(with_stream(allowed_disorder="0s", allowed_lateness="0s")).streams
    assert (stream.allowed_disorder, stream.allowed_lateness) == (0, 0)
