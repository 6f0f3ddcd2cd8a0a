"""Durations and times of the configuration."""

import pytest

from tests.builders.configs import MINIMAL, warmed_up


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("2025-11-03T00:00:00Z", 1_762_128_000_000),
        ("2025-11-03 00:00:00Z", 1_762_128_000_000),
        ("2025-11-03T01:00:00+01:00", 1_762_128_000_000),
        ("2025-11-02T18:30:00-05:30", 1_762_128_000_000),
        ("2025-11-03T00:00:00.25Z", 1_762_128_000_250),
    ],
)
@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_time_is_read_from_yaml_time_and_text(load, text, time_ms, quote):
    (stream,) = load(warmed_up(f"{quote}{text}{quote}", "2026-01-01T00:00:00Z")).streams
    assert stream.warm_up.start == time_ms


@pytest.mark.parametrize(
    "text",
    [
        "2025-11-03T00:00:00",
        "2025-11-03",
        "1762128000000",
        "20251103",
        "1h",
        "2025-11-03T25:00Z",
        "[]",
    ],
)
@pytest.mark.parametrize("quote", ["", "'"])
def test_time_without_offset_is_refused(problems, text, quote):
    message = problems(warmed_up("2025-11-01T00:00:00Z", f"{quote}{text}{quote}"))
    assert "streams.0.warm_up.until: " in message
    assert "is no time with an offset; write a time such as 2025-11-03T00:00:00Z" in message


@pytest.mark.parametrize(
    ("interval", "part"),
    [
        ("0s", "commit_interval: must be longer than zero"),
        ("5001ms", "commit_interval: must not be longer than 5s"),
        ("1", "commit_interval: 1 has no unit"),
    ],
)
def test_invalid_commit_interval_is_refused(problems, interval, part):
    assert part in problems(f"{MINIMAL}commit_interval: {interval}\n")


def test_longest_commit_interval_is_accepted(load):
    assert load(f"{MINIMAL}commit_interval: 5s\n").commit_interval == 5_000
